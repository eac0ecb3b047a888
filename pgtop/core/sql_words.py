"""The words of SQL that tell nothing of whoever wrote a statement."""

from typing import Final

SQL_WORDS: Final = frozenset(
    """
    abort abs absent absolute access action add admin after age aggregate all also alter always analyse
    analyze and any array array_agg array_length array_to_string as asc asensitive assertion assignment
    asymmetric at atomic attach attribute authorization avg backward before begin between bigint bigserial
    binary bit bool bool_and bool_or boolean both breadth by bytea cache call called cascade cascaded case
    cast catalog ceil chain char character characteristics check checkpoint class clock_timestamp close
    cluster coalesce collate collation column columns comment comments commit committed compression concat
    concurrently conditional configuration conflict connection constraint constraints content continue
    conversion copy cost count create cross csv ctid cube current current_catalog current_database
    current_date current_role current_schema current_setting current_time current_timestamp current_user
    cursor cycle data database date_part date_trunc day deallocate dec decimal declare default defaults
    deferrable deferred definer delete delimiter delimiters dense_rank depends depth desc detach
    dictionary disable discard distinct do document domain double drop each else empty enable encode
    encoding encrypted end enforced enum error escape event every except exclude excluding exclusive
    execute exists explain expression extension external extract false family fetch filter finalize first
    first_value float float4 float8 floor following for force foreign format format_type forward freeze
    from full function functions gen_random_uuid generate_series generated global grant granted greatest
    group grouping groups handler hashtext having header hold hour identity if ilike immediate immutable
    implicit import in include including increment indent index indexes inet information_schema inherit
    inherits initially inline inner inout input insensitive insert instead int int2 int4 int8 integer
    intersect interval into invoker is isnull isolation join json json_agg json_array json_arrayagg
    json_build_object json_exists json_object json_objectagg json_query json_scalar json_serialize
    json_table json_value jsonb jsonb_agg jsonb_build_object jsonb_set keep key keys label lag language
    large last last_value lateral lead leading leakproof least left length level like limit listen load
    local localtime localtimestamp location lock locked logged lower lpad ltrim mapping match matched
    materialized max maxvalue md5 merge merge_action method min minute minvalue mod mode month move name
    names national natural nchar nested new next nextval nfc nfd nfkc nfkd no none normalize normalized
    not nothing notify notnull now nowait nspname ntile null nullif nulls numeric numrange object objects
    of off offset oid oids old omit on only operator option options or order ordinality others out outer
    over overlaps overlay overriding owned owner parallel parameter parser partial partition passing
    password path period pg_advisory_lock pg_advisory_unlock pg_advisory_unlock_all pg_advisory_xact_lock
    pg_attribute pg_backend_pid pg_cancel_backend pg_catalog pg_class pg_database pg_is_in_recovery
    pg_locks pg_namespace pg_notify pg_roles pg_settings pg_sleep pg_stat_activity pg_stat_database
    pg_stat_replication pg_stat_statements pg_stat_user_tables pg_terminate_backend pg_total_relation_size
    pg_try_advisory_lock pg_try_advisory_xact_lock pg_type placing plan plans policy position power
    preceding precision prepare prepared preserve primary prior privileges procedural procedure procedures
    program public publication quote quotes random range rank read real reassign recursive ref references
    referencing refresh regclass regexp_replace reindex relative release relname rename repeat repeatable
    replace replica reset restart restrict return returning returns reverse revoke right role rollback
    rollup round routine routines row row_number row_to_json rows rpad rtrim rule savepoint scalar schema
    schemas scroll search second security select sequence sequences serial serializable server session
    session_user set set_config setof sets setval share show similar similarity simple skip smallint
    snapshot some source split_part sql sqrt stable standalone start statement statement_timeout
    statement_timestamp statistics stddev stdin stdout storage stored strict string string_agg strip
    strpos subscription substr substring sum support symmetric sysid system system_user table tables
    tablesample tablespace target temp template temporary text then ties time timestamp timestamptz timetz
    to to_char to_date to_json to_jsonb to_number to_timestamp to_tsquery to_tsvector trailing transaction
    transaction_timestamp transform translate treat trigger trim true trunc truncate trusted tsquery
    tsvector txid_current type types uescape unbounded uncommitted unconditional unencrypted union unique
    unknown unlisten unlogged unnest until update upper user using uuid vacuum valid validate validator
    value values varchar variadic variance varying verbose version view views virtual volatile when where
    whitespace window with within without work wrapper write xmin xml xmlattributes xmlconcat xmlelement
    xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable year yes zone
    """.upper().split()
)
"""PostgreSQL's key words, and types, functions and catalogs that all servers have; in upper case.

Source: pg_get_keywords() of PostgreSQL 18.
"""
