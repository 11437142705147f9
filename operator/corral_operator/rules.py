"""What the rules and the candidates of a decision mean, in a line each: for people who read a status. Pure."""

from collections.abc import Mapping

RULES: Mapping[str, str] = {
    "Flow": "arrivals and service time need so many to keep the target",
    "Drain": "the jobs that wait, or fall due within a pod start, need so many to start in time",
    "Length": "so many jobs at so many per replica",
    "Idle": "nothing is ready, active or due soon, and that for idleAfter: zero",
    "NotIdleYet": "nothing to do, but not yet for idleAfter: one stays",
    "Active": "jobs are active: never zero",
    "DueSoon": "a delayed job falls due within pod start + idleAfter: never zero",
    "Orphans": "jobs are active while nothing ran: one pod, to recover them",
    "Busy": "busy pods stay where none can be told to take nothing more",
    "MinReplicas": "the floor of the spec",
    "MaxReplicas": "the ceiling of the spec",
    "Schedule": "a schedule holds that asks for so many at least",
    "ScheduleCeiling": "a schedule holds that allows so many at most",
    "Manual": "the user set the number",
    "Conflict": "somebody else writes the replicas of its Deployment: what is there stays",
    "Window": "a higher wish is still remembered",
    "Rollout": "never down while a rollout runs",
    "Step": "behavior allows so many per 15 s",
    "ConcurrencyLimit": "the queue's global concurrency lets no more jobs run at once",
    "RateLimit": "the queue's rate limit feeds no more slots",
    "NoConsumer": "ready jobs, ready pods, and nobody takes from this queue: one pod at most",
    "Quota": "the API server refuses further pods",
    "Unschedulable": "pods find no node",
    "NeverCreated": "no queue of these names was ever created: what is there stays",
    "Unknown": "a queue could not be read: what is there stays",
    "Fallback": "a queue could not be read for longer than fallback.after: the fallback of the spec",
    "Downstream": "more pods did no more jobs per second; told as a limit, and caps nothing",
}
"""By reason; the words of corral_operator/decision.py."""

CANDIDATES: Mapping[str, str] = {
    "flow": "keep up with what arrives, within the target",
    "drain": "start what waits, or falls due within a pod start, within the target",
    "length": "the jobs that wait and run, at jobsPerReplica",
    "window": "the highest wish that is remembered",
    "busy": "pods that may be busy, as far as there are pods",
    "minReplicas": "the floor of the spec",
    "maxReplicas": "the ceiling of the spec",
    "schedule": "the floor of the schedule that holds",
    "scheduleCeiling": "the ceiling of the schedule that holds",
    "present": "what is there",
    "fallback": "the fallback of the spec, within the bounds",
}
"""By name."""
