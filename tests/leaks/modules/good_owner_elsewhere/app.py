from .state import State

state = State()


async def shutdown():
    await state.listener.close()
