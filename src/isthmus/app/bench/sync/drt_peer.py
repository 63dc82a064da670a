# pyright: basic, reportMissingImports=false, reportMissingTypeStubs=false
# The line above: this runs in an environment of its own, in which alone drt is.
"""Writes records one by one to a URL by drt's REST destination, and prints what it took, in seconds, as JSON."""

import json
import os
import sys
import time

task = json.loads(sys.argv[1])
os.environ |= {"DRT_TELEMETRY": "0", "DO_NOT_TRACK": "1", "HOME": task["home"]}

from drt.config.models import RateLimitConfig, RestApiDestinationConfig, SyncOptions  # noqa: E402 - as for dlt.
from drt.destinations.rest_api import RestApiDestination  # noqa: E402 - as for dlt.

limit = RateLimitConfig(requests_per_second=task["per_s"])
config = RestApiDestinationConfig(type="rest_api", url=task["url"], method="POST", rate_limit=limit)
began = time.perf_counter()
result = RestApiDestination().load(task["records"], config, SyncOptions())
took = time.perf_counter() - began
if result.success != len(task["records"]):
    sys.exit(f"drt wrote {result.success} of {len(task['records'])}")
sys.stdout.write(json.dumps({"wall": took}) + "\n")
