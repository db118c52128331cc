"""What can go wrong with who somebody is, and what they may: a branch of the tree in `domain.errors`.

EscribaError                    internal
├── NotFound                    not_found
│   ├── UserNotFound            user_not_found
│   ├── ProfileNotFound         profile_not_found
│   └── KeyNotFound             key_not_found
├── Refused                     refused
│   ├── EmailTaken              email_taken
│   ├── ProfileTaken            profile_taken
│   ├── TooManyKeys             too_many_keys
│   ├── TooManyProfiles         too_many_profiles
│   └── LastAdmin               last_admin
├── Unauthenticated             unauthenticated       nobody knows who asks
│   ├── BadCredentials          bad_credentials       email and password do not belong together
│   └── BadToken                bad_token             forged, expired or revoked
├── TooMuch                     too_much              for now; later it is taken
│   ├── TooManyTries            too_many_tries        at logging in
│   └── QuotaExceeded           quota_exceeded
└── Forbidden                   forbidden
    ├── MissingScope            missing_scope
    ├── RegistrationClosed      registration_closed
    └── BadInvite               bad_invite
"""

from domain.errors import EscribaError, Forbidden, NotFound, Refused


class UserNotFound(NotFound):
    code = "user_not_found"
    said = "there is no such user; GET /users lists them, and so does `escriba users list`"


class ProfileNotFound(NotFound):
    code = "profile_not_found"
    said = "you have no such profile; GET /users/me lists yours"


class KeyNotFound(NotFound):
    code = "key_not_found"
    said = "there is no such API key; GET /users/me/keys lists yours"


class EmailTaken(Refused):
    code = "email_taken"
    said = "there is an account with this email address; log in, or take another address"


class ProfileTaken(Refused):
    code = "profile_taken"
    said = "you have a profile of this name; take another name"


class TooManyKeys(Refused):
    code = "too_many_keys"

    def __init__(self, limit: int) -> None:
        super().__init__(f"you have {limit} API keys, which is the limit; delete one first")


class TooManyProfiles(Refused):
    code = "too_many_profiles"

    def __init__(self, limit: int) -> None:
        super().__init__(f"you have {limit} profiles, which is the limit; delete one first")


class LastAdmin(Refused):
    code = "last_admin"
    said = "this is the last administrator; make somebody else one first"


class Unauthenticated(EscribaError):
    code = "unauthenticated"
    said = (
        "say who you are: POST /auth/token gives a token for `Authorization: Bearer …`; machines send an API key the "
        "same way"
    )


class BadCredentials(Unauthenticated):
    code = "bad_credentials"
    said = "email and password do not belong together, or the account is disabled"


class BadToken(Unauthenticated):
    code = "bad_token"
    said = "this token or key is wrong, has expired, or was revoked; log in again, or make a new key"


class TooMuch(EscribaError):
    """`retry_after` is in seconds."""

    code = "too_much"

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TooManyTries(TooMuch):
    code = "too_many_tries"

    def __init__(self, retry_after: int) -> None:
        super().__init__("too many tries to log in; wait a minute", retry_after=retry_after)


class QuotaExceeded(TooMuch):
    code = "quota_exceeded"

    def __init__(self, what: str, retry_after: int) -> None:
        super().__init__(
            f"the quota of {what} for this month is used up; it begins anew on the first, or ask the operator for more",
            retry_after=retry_after,
        )


class MissingScope(Forbidden):
    code = "missing_scope"

    def __init__(self, scope: str, *, instead: str | None = None) -> None:
        """`instead`: what can be done without it."""
        said = f"this takes the scope {scope!r}, which you or your key do not have"
        super().__init__(f"{said}; {instead}" if instead else said)


class RegistrationClosed(Forbidden):
    code = "registration_closed"
    said = "accounts are made by invitation here; ask the operator for one"


class BadInvite(Forbidden):
    code = "bad_invite"
    said = "this invitation is wrong, used, or has expired; ask for a new one"
