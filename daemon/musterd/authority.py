"""Who may do what takes more than being its owner, and how those who may not are told."""

from dataclasses import replace

from musterd.core.errors import AccessDenied, InteractiveAuthorizationRequired, MusterError
from musterd.ports import Action, Authority, Caller, Grant


class Operators:
    """Fulfils `ports.Authority` in single-user mode, where no polkit is asked: root, and its one user."""

    def __init__(self, *uids: int) -> None:
        self._uids = frozenset((0, *uids))

    async def check(self, caller: Caller, action: str) -> Grant:
        return Grant.YES if caller.uid in self._uids else Grant.NO


async def demand(authority: Authority, caller: Caller, action: str, refusal: MusterError) -> None:
    """Raise `refusal` unless the caller may, or say instead what could be done about it."""
    why = str(refusal).removesuffix(".")
    match await authority.check(caller, action):
        case Grant.NO:
            raise refusal
        case Grant.CHALLENGE:
            raise InteractiveAuthorizationRequired(
                f"{why}, and this call lets nobody be asked for a password."
            )
        case Grant.SILENCE:
            raise type(refusal)(f"{why}, and polkit, which might allow it, does not answer.")


async def demand_owner(authority: Authority, caller: Caller, uid: int, what: str) -> None:
    """Raise AccessDenied unless the caller owns what belongs to `uid`, or may manage what others own."""
    if not caller.owns(uid):
        refusal = AccessDenied(f"{what} belongs to another user.")
        await demand(authority, caller, Action.MANAGE_OTHERS, refusal)


async def is_granted(authority: Authority, caller: Caller, action: str) -> bool:
    """Nobody is asked for a password: for what is only done in another way where it is not."""
    return await authority.check(replace(caller, is_interactive=False), action) is Grant.YES
