-- What waits for a person is found without looking at all that went well.
create index job_attention on job (workspace, id) where status = 'needs attention';
create index webhook_delivery_failed on webhook_delivery (workspace, endpoint_id) where status = 'needs attention';
create index webhook_inbound_stuck on webhook_inbound (workspace, id) where status = 'needs attention';
