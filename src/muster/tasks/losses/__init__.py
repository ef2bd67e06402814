"""Training losses, a file each: a new file with an entry in :data:`muster.tasks.loss.LOSSES` is a new loss.

A loss takes scores at the model's own resolution, masks, and :class:`muster.tasks.loss.LossOptions`; it ignores void,
is 0 where every pixel is void, and in a distributed fit its mean over the processes is the loss of the whole batch.
"""
