# pyright: basic, reportMissingImports=false, reportMissingTypeStubs=false
# The line above: this runs in an environment of its own, in which alone dlt is.
"""Loads Parquet files by dlt, one after the other, and prints for each what it took, in seconds, as a line of JSON.

The first file goes into a new table, and the others are merged into it by their key (`upsert`).
"""

import json
import os
import resource
import sys
import time
from collections.abc import Iterator

task = json.loads(sys.argv[1])
os.environ |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR", "DLT_DATA_DIR": task["home"]}

import dlt  # noqa: E402 - it reads its settings from the environment when it is imported.
import pyarrow as pa  # noqa: E402 - as above.
import pyarrow.parquet as pq  # noqa: E402 - as above.
from dlt.destinations import postgres  # noqa: E402 - as above.


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _tables(file: str) -> Iterator[pa.Table]:
    for batch in pq.ParquetFile(file).iter_batches(batch_size=50_000):
        yield pa.Table.from_batches([batch])


pipeline = dlt.pipeline(
    "bench",
    destination=postgres(credentials=task["credentials"]),
    dataset_name=task["schema"],
    pipelines_dir=task["home"],
)
for number, file in enumerate(task["files"]):
    how = {"disposition": "merge", "strategy": "upsert"} if number else "append"
    leads = dlt.resource(_tables(file), name="lead", primary_key="external_id", write_disposition=how)
    began, used = time.perf_counter(), _cpu_s()
    pipeline.run(leads, loader_file_format=task["format"]).raise_on_failed_jobs()
    sys.stdout.write(json.dumps({"wall": time.perf_counter() - began, "cpu": _cpu_s() - used}) + "\n")
    sys.stdout.flush()
