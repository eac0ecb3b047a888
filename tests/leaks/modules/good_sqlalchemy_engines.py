import functools
import time

from sqlalchemy import create_engine

ENGINES = {}


@functools.lru_cache
def get_engine(url):
    return create_engine(url)


def wait_for(url):
    while True:
        try:
            return create_engine(url)
        except OSError:
            time.sleep(1)
