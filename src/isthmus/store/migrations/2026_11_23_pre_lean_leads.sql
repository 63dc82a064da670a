-- Every lead has an address, which decides who it is: nobody looks a lead up by its telephone. Leads without an owner
-- count for nobody's load.

drop index sales_lead_phone_index;
drop index sales_lead_open_owner;
create index sales_lead_open_owner on sales_lead (workspace, owner_id)
    where owner_id is not null and status in ('new', 'working', 'qualified') and deleted_at is null
      and merged_into is null;
