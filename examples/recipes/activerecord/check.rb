#!/usr/bin/env ruby
# Run the recipe on the database of PGHOST, PGDATABASE and so on.

require_relative "eventstore_activerecord"

USED = { type: "used", data: {} }.freeze

def ok(condition, what)
  puts "#{condition ? '' : 'not '}ok - #{what}"
  exit 1 unless condition
end

# The exception that the block raises, which must be of this class.
def refused(kind)
  yield
rescue Exception => e # rubocop:disable Lint/RescueException
  e.instance_of?(kind) ? e : raise
else
  ok(false, "raises #{kind}")
end

# The rest is of libpq's environment.
ActiveRecord::Base.establish_connection(adapter: "postgresql", database: ENV["PGDATABASE"], pool: 10)

class Balance < ActiveRecord::Base; end

ActiveRecord::Schema.verbose = false
ActiveRecord::Schema.define do
  create_table :balances do |t|
    t.integer :amount
    t.integer :lock_version
  end
end

ok(Eventstore.append("account-1", [{ type: "opened" }, USED], 0) == 2, "append")
error = refused(Eventstore::VersionConflict) do
  ActiveRecord::Base.transaction do
    Balance.create!(amount: 1)
    Eventstore.append("account-1", [USED], 1)
  end
end
ok([error.key, error.expected, error.actual] == ["account-1", 1, 2], "a conflict with its facts")
ok(error.message.start_with?('aggregate "account-1" is at version 2'), "and the server's message")
ok(error.is_a?(ActiveRecord::StaleObjectError), "is a StaleObjectError")
ok(!error.is_a?(ActiveRecord::TransactionRollbackError) && !error.is_a?(ActiveRecord::StatementInvalid),
   "which what replays failed transactions leaves alone")
ok(Balance.count.zero?, "the transaction's own rows are gone with it")

balance = Balance.create!(amount: 1)
same = Balance.find(balance.id)
same.update!(amount: 2)
refused(ActiveRecord::StaleObjectError) { balance.update!(amount: 3) }
ok(true, "one handler serves rows with a lock_version and aggregates")

calls = 0
refused(ActiveRecord::SerializationFailure) do
  Eventstore.decide_again(attempts: 3) do
    calls += 1
    ActiveRecord::Base.connection.execute("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$")
  end
end
ok(calls == 3, "40001 starts again")
calls = 0
refused(ActiveRecord::StatementInvalid) do
  Eventstore.decide_again do
    calls += 1
    ActiveRecord::Base.connection.execute("SELECT 1/0")
  end
end
ok(calls == 1, "other errors do not")
calls = 0
refused(Eventstore::VersionConflict) do
  Eventstore.decide_again(attempts: 3) do
    calls += 1
    Eventstore.append("account-1", [USED], 77)
  end
end
ok(calls == 3, "a conflict that stays comes through in the end")
calls = 0
refused(Eventstore::VersionConflict) do
  ActiveRecord::Base.transaction do
    Eventstore.decide_again do
      calls += 1
      Eventstore.append("account-1", [USED], 77)
    end
  end
end
ok(calls == 1, "and at once inside of another transaction")

workers = Array.new(4) do
  Thread.new do
    5.times do
      # Decided on what was read: the total is wrong, not only late, if that was old.
      Eventstore.decide_again(attempts: 50) do
        events, version = Eventstore.read("account-2")
        Eventstore.append("account-2", [{ type: "deposited", data: { total: events.size + 1 } }], version)
      end
    end
    ActiveRecord::Base.connection_pool.release_connection
  end
end
workers.each(&:join)
events, version = Eventstore.read("account-2")
ok(version == 20 && events.map { |event| event["data"]["total"] } == (1..20).to_a,
   "of racing deposits none is lost or decided on old facts")
