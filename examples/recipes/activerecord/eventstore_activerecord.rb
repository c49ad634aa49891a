# Conditional appends with ActiveRecord: a version conflict is a StaleObjectError, as when a row with a lock_version was
# changed by somebody else.
#
# It is no TransactionRollbackError (SerializationFailure, Deadlocked), so what replays those leaves it alone.
#
# Rails answers 409 to a StaleObjectError, but looks exceptions up by the name of their own class:
#
#   config.action_dispatch.rescue_responses["Eventstore::VersionConflict"] = :conflict

require "active_record"
require "active_record/connection_adapters/postgresql_adapter"
require "json"

module Eventstore
  class VersionConflict < ActiveRecord::StaleObjectError
    # Each as the server tells it: entry, key, status, expected, actual.
    attr_reader :conflicts

    def initialize(message, conflicts)
      super()
      @message = message
      @conflicts = conflicts
    end

    # StaleObjectError makes its own, about a record.
    def message
      @message
    end
    alias to_s message

    def key = conflicts.first["key"]
    def expected = conflicts.first["expected"]
    def actual = conflicts.first["actual"]
  end

  # Translates the conflicts of every statement.
  module TranslateConflict
    private

    def translate_exception(exception, message:, sql:, binds:)
      result = exception.respond_to?(:result) ? exception.result : nil
      return super unless result&.error_field(PG::PG_DIAG_SQLSTATE) == "VE001"

      VersionConflict.new(result.error_field(PG::PG_DIAG_MESSAGE_PRIMARY),
                          JSON.parse(result.error_field(PG::PG_DIAG_MESSAGE_DETAIL))["conflicts"])
    end
  end
  ActiveRecord::ConnectionAdapters::PostgreSQLAdapter.prepend(TranslateConflict)

  module_function

  # The events of an aggregate, and its version.
  def read(key)
    events = select("SELECT version, type, data FROM es_read($1)", [key]).to_a
    events.each { |event| event["data"] = JSON.parse(event["data"]) if event["data"].is_a?(String) }
    [events, events.empty? ? 0 : events.last["version"]]
  end

  # Append in the current transaction, with whatever else it writes; return the new version.
  def append(key, events, expected_version)
    select("SELECT es_append($1, $2, $3)", [key, JSON.generate(events), expected_version]).rows.first.first
  end

  # Run the block in a transaction, and all of it again after a conflict: it must read before it decides.
  def decide_again(attempts: 10)
    connection = ActiveRecord::Base.connection
    attempt = 0
    begin
      attempt += 1
      connection.transaction { yield }
    rescue ActiveRecord::StaleObjectError, ActiveRecord::TransactionRollbackError
      # Inside of an outer transaction a second attempt might see what the first has seen.
      raise if attempt == attempts || connection.transaction_open?

      sleep(rand * [1, 0.005 * 2**attempt].min)
      retry
    end
  end

  # Not exec_query's cache, nor a prepared statement of this size: each call has other events.
  def select(sql, values)
    binds = values.map { |value| ActiveRecord::Relation::QueryAttribute.new("", value, ActiveRecord::Type::Value.new) }
    ActiveRecord::Base.uncached { ActiveRecord::Base.connection.exec_query(sql, "eventstore", binds) }
  end
end
