"""What a model is: blank, tokenizer, chat form, files on disk, and engines that generate.

Importing this room sets the environment of every process that touches a model, once and here. The
hub library and torch's threads read it when they are first imported, which must come after this.
Hub clients are off. Threads spin for some microseconds while they wait, then sleep: endless spinning
slows a step down many times on a busy machine, sleeping at once by a third on a quiet one (docs/LOG.md).
"""

import os

for _name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
    os.environ[_name] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "5000")
