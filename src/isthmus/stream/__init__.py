"""The outbox relay, subscriptions, live feeds, webhooks in and out, jobs and schedules."""
