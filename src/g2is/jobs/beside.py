"""What the other processes of a command do while process 0 does it: their share of what it hands out."""

from functools import cache

import torch

from g2is.engine.job import ShardJob
from g2is.engine.launched import SHARDS, make_beside
from g2is.engine.worker import Worker
from g2is.jobs.worker import open_worker
from g2is.machine.ranks import Team
from g2is.model.beside import train_beside
from g2is.model.together import TRAINING


def work_beside(others: Team) -> None:
    """Do what process 0 hands out until it is done. Raises what a task cannot be done for."""

    @cache
    def worker(config: str, device: str) -> Worker[ShardJob]:
        return open_worker(config, device, torch.get_num_threads(), lambda text: others.post("notice", text))

    for number, task in others.tasks():
        if task["do"] == TRAINING:
            train_beside(others, number, task)
        else:
            assert task["do"] == SHARDS, task
            make_beside(others, number, task, worker(task["config"], task["device"]))
