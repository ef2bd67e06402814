"""Execution: jobs side by side, watched over. What a job is about, only its task knows.

``executor`` says what a job and an executor are; ``local`` is the executor of this machine's processes, ``placement``
says which devices and cores they have, and ``worker`` is what runs in them; ``ray_tasks`` is the executor that has Ray
run jobs on one machine or many, and ``ray_worker`` what runs there; ``choice`` takes the one that was asked for.
Nothing is imported here: a worker process that waits for its first job must start fast, and end as soon as its parent
is gone.
"""
