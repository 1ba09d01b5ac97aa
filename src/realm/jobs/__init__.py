"""Work that survives a crash: a durable queue, its worker, and supervised children.

`queue` is the truth that people read and change, `worker` runs it over DBOS (`engine`, the
only module that imports it), `children` starts and ends processes, `tail` carries events.
"""
