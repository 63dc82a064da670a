"""Run with packages of its own: moto's server of S3, which checks signatures, and boto3, which uses a bucket there.

Its first line tells where the server is, and an access key; then it does what each line says, and answers in one.
"""
# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingParameterType=false
# The packages are installed for this program alone, and not beside our own.

import json
import os
import sys

# Only what makes the user, its key, its rights and the bucket is let through without a signature.
os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "4"

import boto3
from botocore.config import Config
from moto.server import ThreadedMotoServer

ALLOWED = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}


def main(bucket: str) -> None:
    """Serve until the lines end."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    given = {"endpoint_url": endpoint, "region_name": "us-east-1"}
    anybody = {"aws_access_key_id": "nobody", "aws_secret_access_key": "nothing"}
    iam = boto3.client("iam", **given, **anybody)
    iam.create_user(UserName="files")
    key = iam.create_access_key(UserName="files")["AccessKey"]
    policy = json.dumps({"Version": "2012-10-17", "Statement": [ALLOWED]})
    iam.put_user_policy(UserName="files", PolicyName="files", PolicyDocument=policy)
    boto3.client("s3", **given, **anybody).create_bucket(Bucket=bucket)
    mine = {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}
    s3 = boto3.client("s3", **given, **mine, config=Config(request_checksum_calculation="when_required"))
    tell({"endpoint": endpoint, "key_id": key["AccessKeyId"], "secret": key["SecretAccessKey"]})
    for line in sys.stdin:
        tell(done(s3, bucket, json.loads(line)))
    server.stop()


def done(s3, bucket: str, said: dict[str, str]) -> dict[str, object]:  # noqa: ANN001 - boto3 has no types.
    """Do what a line says."""
    try:
        match said["do"]:
            case "names":
                pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="drop/")
                names = [each["Key"] for page in pages for each in page.get("Contents", ())]
                return {"answer": sorted(name.removeprefix("drop/") for name in names)}
            case "read":
                return {"answer": s3.get_object(Bucket=bucket, Key=f"drop/{said['name']}")["Body"].read().hex()}
            case "write":
                s3.put_object(Bucket=bucket, Key=f"drop/{said['name']}", Body=bytes.fromhex(said["content"]))
                return {"answer": None}
            case other:
                return {"error": f"{other} is not known"}
    except Exception as error:  # noqa: BLE001 - whatever it is, the test that asked is told.
        return {"error": str(error)}


def tell(said: dict[str, object]) -> None:
    """Say one line."""
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
