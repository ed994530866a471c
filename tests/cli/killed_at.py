"""Runs `towerlog ARGUMENTS` and kills the process around its nth statement to PostgreSQL: `python -c CODE N ARGUMENTS`.

An even number kills before a statement is sent, an odd one once it was answered. Pages are small, so that a small store
takes many. Whoever gets through to the end exits as the command does.
"""

CODE = """
import itertools, os, signal, sys
import asyncpg
from towerlog.store.sqlite.upkeep import departure

departure.PAGE_ROWS = 5
last = int(sys.argv.pop(1))
numbers = itertools.count()

def watched(method):
    async def call(*args, **options):
        if next(numbers) == last:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = await method(*args, **options)
        if next(numbers) == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer
    return call

for name in ("execute", "fetch", "fetchrow", "fetchval", "copy_records_to_table", "executemany"):
    setattr(asyncpg.Connection, name, watched(getattr(asyncpg.Connection, name)))
from towerlog.cli.main import main
main()
"""
