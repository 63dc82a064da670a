"""What Stripe's objects look like: the fields that are read, with their kinds, and all others that Stripe documents.

An object without one of the first, or with another kind in it, is kept as received and not mapped: a missing amount is
not an amount of nothing. The others may be there or not, as the version and the account have them.
"""

from collections.abc import Mapping

from isthmus.connectors.stripe.mapping import CHARGES, CREDIT_NOTES, CUSTOMERS, INVOICES, REFUNDS, SUBSCRIPTIONS

_ANYTHING = "absent null text number truth list map"
_READ: Mapping[str, Mapping[str, str]] = {
    CUSTOMERS: {
        "id": "text",
        "object": "text",
        "name": "text null",
        "email": "text null",
        "phone": "text null",
        "description": "text null",
        "address": "map null",
        "metadata": "map null",
        "preferred_locales": "list null",
        "tax_ids": "map null absent",
    },
    SUBSCRIPTIONS: {
        "id": "text",
        "object": "text",
        "status": "text",
        "customer": "text map",
        "items": "map",
        "metadata": "map null",
        "start_date": "number null",
        "canceled_at": "number null",
    },
    INVOICES: {
        "id": "text",
        "object": "text",
        "status": "text null",
        "customer": "text map null",
        "currency": "text",
        "total": "number",
        "amount_paid": "number",
        "status_transitions": "map",
        "metadata": "map null",
    },
    CREDIT_NOTES: {
        "id": "text",
        "object": "text",
        "status": "text",
        "customer": "text map null",
        "currency": "text",
        "total": "number",
        "created": "number",
        "metadata": "map null",
    },
    CHARGES: {
        "id": "text",
        "object": "text",
        "status": "text",
        "customer": "text map null",
        "currency": "text",
        "amount": "number",
        "captured": "truth",
        "refunded": "truth",
        "created": "number",
        "metadata": "map null",
    },
    REFUNDS: {
        "id": "text",
        "object": "text",
        "status": "text null",
        "charge": "text map null",
        "currency": "text",
        "amount": "number",
        "created": "number",
        "metadata": "map null",
    },
}
# As documented, and fields of older versions, in which calls may still come.
_KNOWN: Mapping[str, str] = {
    CUSTOMERS: """
        account_balance balance business_name business_vat_id cash_balance created currency customer_account
        default_source deleted delinquent discount individual_name invoice_credit_balance invoice_prefix
        invoice_settings livemode next_invoice_sequence shipping sources subscriptions tax tax_exempt test_clock
    """,
    SUBSCRIPTIONS: """
        application application_fee_percent automatic_tax billing_cycle_anchor billing_cycle_anchor_config
        billing_mode billing_schedules billing_thresholds cancel_at cancel_at_period_end cancellation_details
        collection_method created currency current_period_end current_period_start customer_account
        days_until_due default_payment_method default_source default_tax_rates description discount discounts
        ended_at invoice_settings isthmus_partial latest_invoice livemode managed_payments
        next_pending_invoice_item_invoice on_behalf_of pause_collection payment_settings
        pending_invoice_item_interval pending_setup_intent pending_update plan presentment_details quantity
        schedule status_details tax_percent test_clock transfer_data trial_end trial_from_plan trial_period_days
        trial_settings trial_start
    """,
    INVOICES: """
        account_country account_name account_tax_ids amount_due amount_overpaid amount_paid_off_stripe
        amount_remaining amount_shipping application application_fee application_fee_amount attempt_count
        attempted auto_advance automatic_tax automatically_finalizes_at billing_reason charge closed
        collection_method confirmation_secret created custom_fields customer_account customer_address
        customer_email customer_name customer_phone customer_shipping customer_tax_exempt customer_tax_ids date
        default_payment_method default_source default_tax_rates deleted description discount discounts due_date
        effective_at ending_balance footer forgiven from_invoice hosted_invoice_url invoice_pdf issuer
        last_finalization_error latest_revision lines livemode next_payment_attempt number on_behalf_of paid
        paid_out_of_band parent payment_intent payment_settings payments period_end period_start
        post_payment_credit_notes_amount pre_payment_credit_notes_amount quote receipt_number rendering
        shipping_cost shipping_details starting_balance statement_descriptor status_details subscription
        subscription_details subscription_proration_date subtotal subtotal_excluding_tax tax tax_percent
        test_clock threshold_reason total_discount_amounts total_excluding_tax total_pretax_credit_amounts
        total_tax_amounts total_taxes transfer_data webhooks_delivered_at
    """,
    CREDIT_NOTES: """
        amount amount_shipping customer_account customer_balance_transaction discount_amount discount_amounts
        effective_at invoice lines livemode memo number out_of_band_amount pdf post_payment_amount
        pre_payment_amount pretax_credit_amounts reason refund refunds shipping_cost subtotal
        subtotal_excluding_tax tax tax_amounts total_excluding_tax total_tax_amounts total_taxes type voided_at
    """,
    CHARGES: """
        amount_captured amount_refunded application application_fee application_fee_amount authorization_code
        balance_transaction billing_details calculated_statement_descriptor description destination dispute
        disputed failure_balance_transaction failure_code failure_message fraud_details invoice level3 livemode
        on_behalf_of order outcome paid payment_intent payment_method payment_method_details presentment_details
        radar_options receipt_email receipt_number receipt_url refunds review shipping source source_transfer
        statement_descriptor statement_descriptor_suffix transfer transfer_data transfer_group
    """,
    REFUNDS: """
        balance_transaction customer customer_account date description destination_details
        failure_balance_transaction failure_reason instructions_email livemode next_action payment_intent
        payment_method pending_reason presentment_details reason receipt_number source_transfer_reversal
        transfer_reversal
    """,
}
EXPECTED: Mapping[str, Mapping[str, str]] = {
    feed: dict.fromkeys(_KNOWN[feed].split(), _ANYTHING) | read for feed, read in _READ.items()
}
