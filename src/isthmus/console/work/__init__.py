"""Work: what waits for somebody, the log and its readers, schedules, jobs and webhooks; with what mends them."""
