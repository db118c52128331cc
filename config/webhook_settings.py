"""How results are told to webhooks."""

from pydantic import PositiveFloat, PositiveInt

from config.fields import Counts, Ports, Section, env


class WebhookSettings(Section):
    """Webhooks."""

    timeout_seconds: PositiveFloat = env(
        "WEBHOOK_TIMEOUT_SEC", "The longest that a receiver may take, from connecting to its answer.", default=15.0
    )
    connect_timeout_seconds: PositiveFloat = env(
        "WEBHOOK_CONNECT_TIMEOUT_SEC", "The longest that finding and reaching a receiver may take.", default=5.0
    )
    retry_delays_seconds: Counts = env(
        "WEBHOOK_RETRY_DELAYS_SEC",
        "Seconds to wait after each failed try, give or take a fifth; behind the last, the delivery is given up. The "
        "default is the schedule of Standard Webhooks.",
        default=(5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400),
    )
    pause_after_days: PositiveFloat = env(
        "WEBHOOK_PAUSE_AFTER_DAYS", "A webhook that has failed for so long without one success is paused.", default=5.0
    )
    pause_after_given_up: PositiveInt = env(
        "WEBHOOK_PAUSE_AFTER_GIVEN_UP",
        "A webhook is paused once so many of its deliveries have been given up without one success between.",
        default=10,
    )
    secret_overlap_hours: PositiveFloat = env(
        "WEBHOOK_SECRET_OVERLAP_HOURS", "How long the old secret signs as well after a new one was made.", default=24.0
    )
    max_endpoints: PositiveInt = env("WEBHOOK_MAX_ENDPOINTS", "Webhooks that one owner may have.", default=20)
    log_days: PositiveFloat = env(
        "WEBHOOK_LOG_DAYS",
        "How long deliveries that are over stay in the log, and those of a paused webhook wait for it.",
        default=30.0,
    )
    ports: Ports = env("WEBHOOK_PORTS", "Ports that a webhook's URL may name.", default=(443,))
    allow_http: bool = env(
        "WEBHOOK_ALLOW_HTTP",
        "Take http:// URLs too, on port 80 or WEBHOOK_PORTS: all is sent in the clear.",
        default=False,
    )
    allow_private: bool = env(
        "WEBHOOK_ALLOW_PRIVATE",
        "Take URLs of this machine and of private networks, on any port. Only where every caller may reach these.",
        default=False,
    )
