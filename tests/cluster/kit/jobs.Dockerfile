# tests/parts/kit_images.py puts the worker's image here.
FROM corral-worker
COPY jobs.py .
CMD ["work", "jobs:worker"]
