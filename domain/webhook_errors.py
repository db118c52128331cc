"""What can go wrong with a webhook and what is owed to it: a branch of the tree in `domain.errors`.

EscribaError                    internal
├── Invalid                     invalid_request
│   └── WebhookUrlRefused       webhook_url_refused
│       └── WebhookHostUnknown  webhook_host_unknown
├── NotFound                    not_found
│   ├── WebhookNotFound         webhook_not_found
│   └── DeliveryNotFound        delivery_not_found
└── Refused                     refused
    ├── TooManyWebhooks         too_many_webhooks
    ├── WebhookNotActive        webhook_not_active
    └── DeliveryErased          delivery_erased
"""

from domain.errors import Invalid, NotFound, Refused


class WebhookUrlRefused(Invalid):
    """`why` is said of the URL; it never repeats it."""

    code = "webhook_url_refused"

    def __init__(self, why: str) -> None:
        super().__init__(f"this URL cannot be a webhook's: {why}", field="url")


class WebhookHostUnknown(WebhookUrlRefused):
    code = "webhook_host_unknown"

    def __init__(self) -> None:
        super().__init__("its host name does not resolve to an address; check the name, and that it is public")


class WebhookNotFound(NotFound):
    code = "webhook_not_found"
    said = "there is no such webhook; GET /api/webhooks lists yours"


class DeliveryNotFound(NotFound):
    code = "delivery_not_found"
    said = "this webhook has no such delivery; its log lists those that are kept"


class TooManyWebhooks(Refused):
    code = "too_many_webhooks"

    def __init__(self, limit: int) -> None:
        super().__init__(f"you have {limit} webhooks, which is the limit; delete one first")


class WebhookNotActive(Refused):
    code = "webhook_not_active"

    def __init__(self, state: str) -> None:
        super().__init__(f"the webhook is {state}; PATCH it to state 'active' first")


class DeliveryErased(Refused):
    code = "delivery_erased"
    said = "the job has been erased, and what was told of it with it; it cannot be told again"
