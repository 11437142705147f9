from corral import Job, UnrecoverableError, Worker


async def send(job: Job) -> dict:
    if "to" not in job.data:
        raise UnrecoverableError("no recipient")
    await job.update_progress(50)
    return {"sent_to": job.data["to"]}


worker = Worker("emails", send, concurrency=20)
