# Conditional appends with Sequel: a version conflict is what the plugin optimistic_locking raises when a row was changed
# by somebody else.
#
# It is no DatabaseError, so DB.transaction(retry_on: ...) with SerializationFailure, or even with DatabaseError, leaves it
# alone.

require "sequel"
require "json"

module Eventstore
  # Sequel::Plugins::OptimisticLocking::Error is another name of its superclass.
  class VersionConflict < Sequel::NoExistingObject
    # Each as the server tells it: entry, key, status, expected, actual.
    def conflicts
      @conflicts ||= JSON.parse(wrapped_exception.result.error_field(PG::PG_DIAG_MESSAGE_DETAIL))["conflicts"]
    end

    def key = conflicts.first["key"]
    def expected = conflicts.first["expected"]
    def actual = conflicts.first["actual"]
  end

  # DB.extend(Eventstore::Database)
  module Database
    # The events of an aggregate, and its version.
    def read_aggregate(key)
      events = fetch("SELECT version, type, data FROM es_read(?)", key).all
      events.each { |event| event[:data] = JSON.parse(event[:data]) if event[:data].is_a?(String) }
      [events, events.empty? ? 0 : events.last[:version]]
    end

    # Append in the current transaction, with whatever else it writes; return the new version.
    def append(key, events, expected_version)
      fetch("SELECT es_append(?, ?, ?)", key, JSON.generate(events), expected_version).single_value
    end

    # Run the block in a transaction, and all of it again after a conflict: it must read before it decides.
    def decide_again(attempts: 10)
      attempt = 0
      begin
        attempt += 1
        transaction { yield }
      rescue Sequel::NoExistingObject, Sequel::SerializationFailure
        # Inside of an outer transaction a second attempt might see what the first has seen.
        raise if attempt == attempts || in_transaction?

        sleep(rand * [1, 0.005 * 2**attempt].min)
        retry
      end
    end

    private

    def database_specific_error_class_from_sqlstate(sqlstate)
      sqlstate == "VE001" ? VersionConflict : super
    end
  end
end
