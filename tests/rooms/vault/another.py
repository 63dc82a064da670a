"""Another process with the same key store: `python -m tests.rooms.vault.another PATH KEK ENVELOPE`.

It opens what Anna sealed for each line that comes in, and says what it found. `erase` lets it begin to erase, and wait.
"""

import sys
import time
from pathlib import Path
from uuid import UUID

from isthmus.vault import KeyStore, Vault
from isthmus.vault.generation import Generation

ANNA = UUID(int=1)


def main(path: Path, kek: bytes, envelope: bytes) -> None:
    """Answer until the lines end."""
    vault = Vault(KeyStore(path, kek=kek))
    for line in sys.stdin:
        if line.strip() == "erase":
            with Generation(path.with_name(f"{path.name}-erasures")).moving():
                sys.stdout.write("erasing\n")
                sys.stdout.flush()
                time.sleep(60)
        [found] = vault.open_many(workspace=1, values=[(ANNA, envelope)])
        sys.stdout.write("gone\n" if found is None else f"{found.decode()}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), bytes.fromhex(sys.argv[2]), bytes.fromhex(sys.argv[3]))
