"""A worker that computes: `corral work thumbnails:worker`. More jobs at once would not make it faster; more workers do.

Its processor is a plain function, which runs in a thread: probes and the renewal of locks go on meanwhile.
"""

from corral import Job, Worker

DEPTH = 150
"""Steps until a point of the picture counts as black."""


def brightness(x: float, y: float) -> int:
    """How many steps a point of the Mandelbrot set stays near."""
    point, here = complex(x, y), 0j
    for step in range(DEPTH):
        if abs(here) > 2:
            return step
        here = here * here + point
    return DEPTH


def draw(job: Job) -> dict[str, int]:
    """A picture of `size` by `size` points: about 0.1 s of computing for 150."""
    size = job.data["size"]
    points = [brightness(3 * x / size - 2.2, 3 * y / size - 1.5) for y in range(size) for x in range(size)]
    return {"points": len(points), "black": points.count(DEPTH)}


# As with the mails: locks of seconds, so that the demo need not wait for those of a worker that died.
worker = Worker("thumbnails", draw, lock_duration=4, stalled_interval=2, max_stalled_count=5)
