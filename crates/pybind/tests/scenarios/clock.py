"""Metric functions that give what they are told to: without a clock of its own, HiQ draws the same every time."""


def scripted(name, *values):
    waiting = iter(values)

    def metric():
        return next(waiting)

    metric.__name__ = name
    return metric


def seconds(*offsets):
    """A metric named like `time.time`, from 2021-11-04 04:26:40.123456 UTC on."""
    return scripted("time", *(1636000000.123456 + offset for offset in offsets))
