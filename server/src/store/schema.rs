//! colsync's own tables, as diesel's DSL knows them. The migrations make them, alike on both backends.

use diesel::table;

table! {
    colsync_tables (id) { id -> BigInt, name -> Text, adopted_at -> BigInt, }
}

table! {
    colsync_clients (id) {
        id -> Text, principal -> Text, name -> Nullable<Text>, first_seen -> BigInt, last_seen -> BigInt,
        skew -> Nullable<BigInt>, last_push -> BigInt, pulled_at -> Nullable<BigInt>,
        pulled_to -> Nullable<Text>, pushes -> BigInt,
    }
}

table! {
    colsync_conflicts (id) {
        id -> Text, table_name -> Text, row_id -> Text, column_name -> Nullable<Text>, kind -> Text,
        policy -> Text, base -> Nullable<Text>, kept -> Nullable<Text>, lost -> Nullable<Text>,
        kept_time -> Nullable<BigInt>, kept_client -> Nullable<Text>, lost_time -> Nullable<BigInt>,
        lost_client -> Nullable<Text>, skew -> Nullable<BigInt>, version -> BigInt, state -> Text,
        created_at -> BigInt, decision -> Nullable<Text>, decided_at -> Nullable<BigInt>,
        decided_value -> Nullable<Text>,
    }
}

table! {
    colsync_pushes (client, number) {
        client -> Text, number -> BigInt, hash -> Text, receipts -> Binary, at -> BigInt,
    }
}

table! {
    colsync_requests (client, idempotency_key) {
        client -> Text, idempotency_key -> Text, hash -> Text, receipts -> Binary, at -> BigInt,
    }
}

table! {
    colsync_anchors (id) { id -> Text, horizon -> Text, recorded_at -> BigInt, }
}

table! {
    colsync_meta (name) { name -> Text, value -> Text, }
}
