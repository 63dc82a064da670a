-- The tables of the record types, as their declarations give them (see isthmus.store.schema).

create table finance_vendor (
    workspace integer not null,
    id uuid not null,
    sealed bytea,
    version bigint not null default 1,
    hlc bigint not null,
    system text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz,
    merged_into uuid,
    name text,
    tax_id text,
    domain text,
    legal_name text,
    category text,
    country text,
    contract_value numeric(20,4),
    contract_value_currency text,
    contract_starts_on date,
    contract_ends_on date,
    owner_id text,
    tags jsonb,
    custom jsonb,
    tax_id_index bytea,
    domain_index bytea,
    primary key (workspace, id)
);
create index finance_vendor_tax_id_index on finance_vendor (workspace, tax_id_index) where tax_id_index is not null;
create index finance_vendor_domain_index on finance_vendor (workspace, domain_index) where domain_index is not null;
alter table finance_vendor enable row level security;
create policy workspace on finance_vendor using (workspace = (select current_workspace()));
grant select, insert, update, delete on finance_vendor to isthmus_app;

create table finance_budget (
    workspace integer not null,
    id uuid not null,
    sealed bytea,
    version bigint not null default 1,
    hlc bigint not null,
    system text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz,
    merged_into uuid,
    period text,
    amount numeric(20,4),
    amount_currency text,
    department text,
    channel text,
    category text,
    campaign_id uuid,
    owner_id text,
    custom jsonb,
    primary key (workspace, id)
);
create index finance_budget_campaign_id on finance_budget (workspace, campaign_id) where campaign_id is not null;
alter table finance_budget enable row level security;
create policy workspace on finance_budget using (workspace = (select current_workspace()));
grant select, insert, update, delete on finance_budget to isthmus_app;

create table finance_spend (
    workspace integer not null,
    id uuid not null,
    sealed bytea,
    version bigint not null default 1,
    hlc bigint not null,
    system text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz,
    merged_into uuid,
    amount numeric(20,4),
    amount_currency text,
    day date,
    category text,
    campaign_id uuid,
    vendor_id uuid,
    channel text,
    department text,
    period text,
    reference text,
    custom jsonb,
    primary key (workspace, id)
);
create index finance_spend_campaign_id on finance_spend (workspace, campaign_id) where campaign_id is not null;
create index finance_spend_vendor_id on finance_spend (workspace, vendor_id) where vendor_id is not null;
alter table finance_spend enable row level security;
create policy workspace on finance_spend using (workspace = (select current_workspace()));
grant select, insert, update, delete on finance_spend to isthmus_app;

create table finance_subscription (
    workspace integer not null,
    id uuid not null,
    sealed bytea,
    version bigint not null default 1,
    hlc bigint not null,
    system text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz,
    merged_into uuid,
    plan text,
    status text,
    account_id uuid,
    deal_id uuid,
    recurring numeric(20,4),
    recurring_currency text,
    billing_interval text,
    quantity bigint,
    quantity_used bigint,
    started_on date,
    period_ends_on date,
    canceled_on date,
    cancel_reason text,
    custom jsonb,
    primary key (workspace, id)
);
create index finance_subscription_account_id on finance_subscription (workspace, account_id) where account_id is not null;
create index finance_subscription_deal_id on finance_subscription (workspace, deal_id) where deal_id is not null;
alter table finance_subscription enable row level security;
create policy workspace on finance_subscription using (workspace = (select current_workspace()));
grant select, insert, update, delete on finance_subscription to isthmus_app;

create table finance_invoice (
    workspace integer not null,
    id uuid not null,
    sealed bytea,
    version bigint not null default 1,
    hlc bigint not null,
    system text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz,
    merged_into uuid,
    amount numeric(20,4),
    amount_currency text,
    invoice_number text,
    status text,
    account_id uuid,
    deal_id uuid,
    subscription_id uuid,
    paid numeric(20,4),
    paid_currency text,
    tax numeric(20,4),
    tax_currency text,
    issued_on date,
    due_on date,
    paid_at timestamptz,
    custom jsonb,
    invoice_number_index bytea,
    primary key (workspace, id)
);
create index finance_invoice_invoice_number_index on finance_invoice (workspace, invoice_number_index) where invoice_number_index is not null;
create index finance_invoice_account_id on finance_invoice (workspace, account_id) where account_id is not null;
create index finance_invoice_deal_id on finance_invoice (workspace, deal_id) where deal_id is not null;
create index finance_invoice_subscription_id on finance_invoice (workspace, subscription_id) where subscription_id is not null;
alter table finance_invoice enable row level security;
create policy workspace on finance_invoice using (workspace = (select current_workspace()));
grant select, insert, update, delete on finance_invoice to isthmus_app;

create table finance_payment (
    workspace integer not null,
    id uuid not null,
    sealed bytea,
    version bigint not null default 1,
    hlc bigint not null,
    system text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz,
    merged_into uuid,
    amount numeric(20,4),
    amount_currency text,
    reference text,
    status text,
    at timestamptz,
    account_id uuid,
    invoice_id uuid,
    method text,
    failure_reason text,
    custom jsonb,
    reference_index bytea,
    primary key (workspace, id)
);
create index finance_payment_reference_index on finance_payment (workspace, reference_index) where reference_index is not null;
create index finance_payment_account_id on finance_payment (workspace, account_id) where account_id is not null;
create index finance_payment_invoice_id on finance_payment (workspace, invoice_id) where invoice_id is not null;
alter table finance_payment enable row level security;
create policy workspace on finance_payment using (workspace = (select current_workspace()));
grant select, insert, update, delete on finance_payment to isthmus_app;

create table marketing_campaign (
    workspace integer not null,
    id uuid not null,
    sealed bytea,
    version bigint not null default 1,
    hlc bigint not null,
    system text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz,
    merged_into uuid,
    name text,
    code text,
    kind text,
    channel text,
    status text,
    objective text,
    starts_on date,
    ends_on date,
    budget numeric(20,4),
    budget_currency text,
    audience_id uuid,
    audience_size bigint,
    parent_id uuid,
    owner_id text,
    description text,
    tags jsonb,
    custom jsonb,
    code_index bytea,
    primary key (workspace, id)
);
create index marketing_campaign_code_index on marketing_campaign (workspace, code_index) where code_index is not null;
create index marketing_campaign_audience_id on marketing_campaign (workspace, audience_id) where audience_id is not null;
create index marketing_campaign_parent_id on marketing_campaign (workspace, parent_id) where parent_id is not null;
alter table marketing_campaign enable row level security;
create policy workspace on marketing_campaign using (workspace = (select current_workspace()));
grant select, insert, update, delete on marketing_campaign to isthmus_app;

create table marketing_campaign_member (
    workspace integer not null,
    id uuid not null,
    sealed bytea,
    version bigint not null default 1,
    hlc bigint not null,
    system text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz,
    merged_into uuid,
    campaign_id uuid,
    person_id uuid,
    lead_id uuid,
    status text,
    joined_at timestamptz,
    responded_at timestamptz,
    custom jsonb,
    primary key (workspace, id)
);
create index marketing_campaign_member_campaign_id on marketing_campaign_member (workspace, campaign_id) where campaign_id is not null;
create index marketing_campaign_member_person_id on marketing_campaign_member (workspace, person_id) where person_id is not null;
create index marketing_campaign_member_lead_id on marketing_campaign_member (workspace, lead_id) where lead_id is not null;
alter table marketing_campaign_member enable row level security;
create policy workspace on marketing_campaign_member using (workspace = (select current_workspace()));
grant select, insert, update, delete on marketing_campaign_member to isthmus_app;

create table marketing_touch (
    workspace integer not null,
    id uuid not null,
    sealed bytea,
    version bigint not null default 1,
    hlc bigint not null,
    system text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz,
    merged_into uuid,
    channel text,
    at timestamptz,
    account_id uuid,
    person_id uuid,
    lead_id uuid,
    campaign_id uuid,
    kind text,
    role text,
    cost numeric(20,4),
    cost_currency text,
    custom jsonb,
    primary key (workspace, id)
);
create index marketing_touch_account_id on marketing_touch (workspace, account_id) where account_id is not null;
create index marketing_touch_person_id on marketing_touch (workspace, person_id) where person_id is not null;
create index marketing_touch_lead_id on marketing_touch (workspace, lead_id) where lead_id is not null;
create index marketing_touch_campaign_id on marketing_touch (workspace, campaign_id) where campaign_id is not null;
alter table marketing_touch enable row level security;
create policy workspace on marketing_touch using (workspace = (select current_workspace()));
grant select, insert, update, delete on marketing_touch to isthmus_app;

create table marketing_audience (
    workspace integer not null,
    id uuid not null,
    sealed bytea,
    version bigint not null default 1,
    hlc bigint not null,
    system text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz,
    merged_into uuid,
    name text,
    description text,
    rules jsonb,
    match_all boolean,
    size bigint,
    destinations jsonb,
    refreshed_at timestamptz,
    owner_id text,
    custom jsonb,
    primary key (workspace, id)
);
alter table marketing_audience enable row level security;
create policy workspace on marketing_audience using (workspace = (select current_workspace()));
grant select, insert, update, delete on marketing_audience to isthmus_app;

create table marketing_consent (
    workspace integer not null,
    id uuid not null,
    sealed bytea,
    version bigint not null default 1,
    hlc bigint not null,
    system text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz,
    merged_into uuid,
    purpose text,
    channel text,
    state text,
    person_id uuid,
    source text,
    text_version text,
    given_at timestamptz,
    expires_at timestamptz,
    custom jsonb,
    key_index bytea,
    primary key (workspace, id)
);
create index marketing_consent_key_index on marketing_consent (workspace, key_index) where key_index is not null;
create index marketing_consent_person_id on marketing_consent (workspace, person_id) where person_id is not null;
alter table marketing_consent enable row level security;
create policy workspace on marketing_consent using (workspace = (select current_workspace()));
grant select, insert, update, delete on marketing_consent to isthmus_app;

create table product_feature (
    workspace integer not null,
    id uuid not null,
    sealed bytea,
    version bigint not null default 1,
    hlc bigint not null,
    system text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz,
    merged_into uuid,
    name text,
    key text,
    area text,
    essential boolean,
    paid boolean,
    usage_limit bigint,
    released_on date,
    owner_id text,
    custom jsonb,
    key_index bytea,
    primary key (workspace, id)
);
create index product_feature_key_index on product_feature (workspace, key_index) where key_index is not null;
alter table product_feature enable row level security;
create policy workspace on product_feature using (workspace = (select current_workspace()));
grant select, insert, update, delete on product_feature to isthmus_app;

create table product_event (
    workspace integer not null,
    id uuid not null,
    sealed bytea,
    version bigint not null default 1,
    hlc bigint not null,
    system text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz,
    merged_into uuid,
    name text,
    at timestamptz,
    account_id uuid,
    person_id uuid,
    feature_id uuid,
    session text,
    duration_s double precision,
    success boolean,
    amount_used bigint,
    custom jsonb,
    primary key (workspace, id)
);
create index product_event_account_id on product_event (workspace, account_id) where account_id is not null;
create index product_event_person_id on product_event (workspace, person_id) where person_id is not null;
create index product_event_feature_id on product_event (workspace, feature_id) where feature_id is not null;
alter table product_event enable row level security;
create policy workspace on product_event using (workspace = (select current_workspace()));
grant select, insert, update, delete on product_event to isthmus_app;

create table product_feedback (
    workspace integer not null,
    id uuid not null,
    sealed bytea,
    version bigint not null default 1,
    hlc bigint not null,
    system text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz,
    merged_into uuid,
    kind text,
    at timestamptz,
    score double precision,
    account_id uuid,
    person_id uuid,
    feature_id uuid,
    campaign_id uuid,
    status text,
    themes jsonb,
    owner_id text,
    custom jsonb,
    primary key (workspace, id)
);
create index product_feedback_account_id on product_feedback (workspace, account_id) where account_id is not null;
create index product_feedback_person_id on product_feedback (workspace, person_id) where person_id is not null;
create index product_feedback_feature_id on product_feedback (workspace, feature_id) where feature_id is not null;
create index product_feedback_campaign_id on product_feedback (workspace, campaign_id) where campaign_id is not null;
alter table product_feedback enable row level security;
create policy workspace on product_feedback using (workspace = (select current_workspace()));
grant select, insert, update, delete on product_feedback to isthmus_app;

create table product_launch (
    workspace integer not null,
    id uuid not null,
    sealed bytea,
    version bigint not null default 1,
    hlc bigint not null,
    system text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz,
    merged_into uuid,
    name text,
    status text,
    launches_on date,
    baseline_from date,
    messaging text,
    feature_id uuid,
    campaign_id uuid,
    adoption_target double precision,
    adoption_days bigint,
    owner_id text,
    custom jsonb,
    primary key (workspace, id)
);
create index product_launch_feature_id on product_launch (workspace, feature_id) where feature_id is not null;
create index product_launch_campaign_id on product_launch (workspace, campaign_id) where campaign_id is not null;
alter table product_launch enable row level security;
create policy workspace on product_launch using (workspace = (select current_workspace()));
grant select, insert, update, delete on product_launch to isthmus_app;

create table sales_account (
    workspace integer not null,
    id uuid not null,
    sealed bytea,
    version bigint not null default 1,
    hlc bigint not null,
    system text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz,
    merged_into uuid,
    name text,
    tax_id text,
    domain text,
    legal_name text,
    kind text,
    owner_id text,
    parent_id uuid,
    website text,
    phone text,
    industry text,
    segment text,
    employee_count bigint,
    annual_revenue numeric(20,4),
    annual_revenue_currency text,
    street text,
    postal_code text,
    city text,
    region text,
    country text,
    description text,
    tags jsonb,
    custom jsonb,
    tax_id_index bytea,
    domain_index bytea,
    primary key (workspace, id)
);
create index sales_account_tax_id_index on sales_account (workspace, tax_id_index) where tax_id_index is not null;
create index sales_account_domain_index on sales_account (workspace, domain_index) where domain_index is not null;
create index sales_account_parent_id on sales_account (workspace, parent_id) where parent_id is not null;
alter table sales_account enable row level security;
create policy workspace on sales_account using (workspace = (select current_workspace()));
grant select, insert, update, delete on sales_account to isthmus_app;

create table sales_person (
    workspace integer not null,
    id uuid not null,
    sealed bytea,
    version bigint not null default 1,
    hlc bigint not null,
    system text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz,
    merged_into uuid,
    region text,
    country text,
    language text,
    role text,
    department text,
    lifecycle text,
    account_id uuid,
    owner_id text,
    tags jsonb,
    custom jsonb,
    email_index bytea,
    phone_index bytea,
    primary key (workspace, id)
);
create index sales_person_email_index on sales_person (workspace, email_index) where email_index is not null;
create index sales_person_phone_index on sales_person (workspace, phone_index) where phone_index is not null;
create index sales_person_account_id on sales_person (workspace, account_id) where account_id is not null;
alter table sales_person enable row level security;
create policy workspace on sales_person using (workspace = (select current_workspace()));
grant select, insert, update, delete on sales_person to isthmus_app;

create table sales_lead (
    workspace integer not null,
    id uuid not null,
    sealed bytea,
    version bigint not null default 1,
    hlc bigint not null,
    system text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz,
    merged_into uuid,
    company text,
    country text,
    region text,
    industry text,
    company_size bigint,
    status text,
    source text,
    score double precision,
    score_reasons jsonb,
    owner_id text,
    person_id uuid,
    account_id uuid,
    deal_id uuid,
    campaign_id uuid,
    captured_at timestamptz,
    qualified_at timestamptz,
    converted_at timestamptz,
    expected_value numeric(20,4),
    expected_value_currency text,
    steps jsonb,
    tags jsonb,
    custom jsonb,
    email_index bytea,
    phone_index bytea,
    primary key (workspace, id)
);
create index sales_lead_email_index on sales_lead (workspace, email_index) where email_index is not null;
create index sales_lead_phone_index on sales_lead (workspace, phone_index) where phone_index is not null;
create index sales_lead_person_id on sales_lead (workspace, person_id) where person_id is not null;
create index sales_lead_account_id on sales_lead (workspace, account_id) where account_id is not null;
create index sales_lead_deal_id on sales_lead (workspace, deal_id) where deal_id is not null;
create index sales_lead_campaign_id on sales_lead (workspace, campaign_id) where campaign_id is not null;
alter table sales_lead enable row level security;
create policy workspace on sales_lead using (workspace = (select current_workspace()));
grant select, insert, update, delete on sales_lead to isthmus_app;

create table sales_deal (
    workspace integer not null,
    id uuid not null,
    sealed bytea,
    version bigint not null default 1,
    hlc bigint not null,
    system text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz,
    merged_into uuid,
    name text,
    deal_number text,
    account_id uuid,
    person_id uuid,
    lead_id uuid,
    campaign_id uuid,
    stage text,
    amount numeric(20,4),
    amount_currency text,
    probability double precision,
    owner_id text,
    pipeline text,
    close_date date,
    opened_at timestamptz,
    committed_at timestamptz,
    closed_at timestamptz,
    won boolean,
    lost_reason text,
    next_step text,
    tags jsonb,
    custom jsonb,
    deal_number_index bytea,
    primary key (workspace, id)
);
create index sales_deal_deal_number_index on sales_deal (workspace, deal_number_index) where deal_number_index is not null;
create index sales_deal_account_id on sales_deal (workspace, account_id) where account_id is not null;
create index sales_deal_person_id on sales_deal (workspace, person_id) where person_id is not null;
create index sales_deal_lead_id on sales_deal (workspace, lead_id) where lead_id is not null;
create index sales_deal_campaign_id on sales_deal (workspace, campaign_id) where campaign_id is not null;
alter table sales_deal enable row level security;
create policy workspace on sales_deal using (workspace = (select current_workspace()));
grant select, insert, update, delete on sales_deal to isthmus_app;

create table sales_stage_change (
    workspace integer not null,
    id uuid not null,
    sealed bytea,
    version bigint not null default 1,
    hlc bigint not null,
    system text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz,
    merged_into uuid,
    to_stage text,
    at timestamptz,
    deal_id uuid,
    from_stage text,
    amount numeric(20,4),
    amount_currency text,
    owner_id text,
    custom jsonb,
    primary key (workspace, id)
);
create index sales_stage_change_deal_id on sales_stage_change (workspace, deal_id) where deal_id is not null;
alter table sales_stage_change enable row level security;
create policy workspace on sales_stage_change using (workspace = (select current_workspace()));
grant select, insert, update, delete on sales_stage_change to isthmus_app;

create table sales_activity (
    workspace integer not null,
    id uuid not null,
    sealed bytea,
    version bigint not null default 1,
    hlc bigint not null,
    system text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz,
    merged_into uuid,
    kind text,
    at timestamptz,
    due_at timestamptz,
    completed boolean,
    outbound boolean,
    duration_s bigint,
    outcome text,
    owner_id text,
    account_id uuid,
    person_id uuid,
    lead_id uuid,
    deal_id uuid,
    custom jsonb,
    primary key (workspace, id)
);
create index sales_activity_account_id on sales_activity (workspace, account_id) where account_id is not null;
create index sales_activity_person_id on sales_activity (workspace, person_id) where person_id is not null;
create index sales_activity_lead_id on sales_activity (workspace, lead_id) where lead_id is not null;
create index sales_activity_deal_id on sales_activity (workspace, deal_id) where deal_id is not null;
alter table sales_activity enable row level security;
create policy workspace on sales_activity using (workspace = (select current_workspace()));
grant select, insert, update, delete on sales_activity to isthmus_app;

create table success_ticket (
    workspace integer not null,
    id uuid not null,
    sealed bytea,
    version bigint not null default 1,
    hlc bigint not null,
    system text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz,
    merged_into uuid,
    ticket_number text,
    status text,
    kind text,
    priority text,
    escalated boolean,
    channel text,
    account_id uuid,
    person_id uuid,
    owner_id text,
    opened_at timestamptz,
    first_response_at timestamptz,
    solved_at timestamptz,
    satisfaction double precision,
    tags jsonb,
    custom jsonb,
    ticket_number_index bytea,
    primary key (workspace, id)
);
create index success_ticket_ticket_number_index on success_ticket (workspace, ticket_number_index) where ticket_number_index is not null;
create index success_ticket_account_id on success_ticket (workspace, account_id) where account_id is not null;
create index success_ticket_person_id on success_ticket (workspace, person_id) where person_id is not null;
alter table success_ticket enable row level security;
create policy workspace on success_ticket using (workspace = (select current_workspace()));
grant select, insert, update, delete on success_ticket to isthmus_app;

create table success_health_snapshot (
    workspace integer not null,
    id uuid not null,
    sealed bytea,
    version bigint not null default 1,
    hlc bigint not null,
    system text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz,
    merged_into uuid,
    score double precision,
    at timestamptz,
    account_id uuid,
    usage_frequency double precision,
    feature_adoption double precision,
    engagement_trend double precision,
    support_health double precision,
    payment_stability double precision,
    marketing_engagement double precision,
    churn_probability double precision,
    risk text,
    reasons jsonb,
    oldest_input_s bigint,
    custom jsonb,
    primary key (workspace, id)
);
create index success_health_snapshot_account_id on success_health_snapshot (workspace, account_id) where account_id is not null;
alter table success_health_snapshot enable row level security;
create policy workspace on success_health_snapshot using (workspace = (select current_workspace()));
grant select, insert, update, delete on success_health_snapshot to isthmus_app;

create table success_intervention (
    workspace integer not null,
    id uuid not null,
    sealed bytea,
    version bigint not null default 1,
    hlc bigint not null,
    system text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    deleted_at timestamptz,
    merged_into uuid,
    playbook text,
    status text,
    trigger text,
    account_id uuid,
    person_id uuid,
    owner_id text,
    steps jsonb,
    started_at timestamptz,
    due_at timestamptz,
    escalated_at timestamptz,
    finished_at timestamptz,
    expected_value numeric(20,4),
    expected_value_currency text,
    outcome text,
    effect double precision,
    custom jsonb,
    primary key (workspace, id)
);
create index success_intervention_account_id on success_intervention (workspace, account_id) where account_id is not null;
create index success_intervention_person_id on success_intervention (workspace, person_id) where person_id is not null;
alter table success_intervention enable row level security;
create policy workspace on success_intervention using (workspace = (select current_workspace()));
grant select, insert, update, delete on success_intervention to isthmus_app;
