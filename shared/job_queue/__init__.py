"""A list of runs for one machine, done one after the other: files in a folder, and no daemon.

    jobs/<id>.json          what a person asked for      writer: the command line or the dashboard, under queue.lock
    attempts/<id>.json      how it went                  writer: the process of the job; a retry removes it
    logs/<id>.log           what `run.py train` printed  writer: the process of the job
    runner.json             who works on the queue       writer: `run.py queue run`, which holds runner.lock

A job that no process works on and that has not ended is waiting: so a machine that was switched off leaves its jobs
waiting, and each goes on from the last checkpoint of its run.
"""
