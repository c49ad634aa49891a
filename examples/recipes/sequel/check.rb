#!/usr/bin/env ruby
# Run the recipe on the database of PGHOST, PGDATABASE and so on.

require_relative "eventstore_sequel"

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
DB = Sequel.connect(adapter: "postgres", database: ENV["PGDATABASE"], max_connections: 10)
DB.extend(Eventstore::Database)
DB.create_table(:balances) do
  primary_key :id
  Integer :amount
  Integer :lock_version, default: 0
end
class Balance < Sequel::Model
  plugin :optimistic_locking
end

ok(DB.append("account-1", [{ type: "opened" }, USED], 0) == 2, "append")
error = refused(Eventstore::VersionConflict) do
  DB.transaction do
    Balance.create(amount: 1)
    DB.append("account-1", [USED], 1)
  end
end
ok([error.key, error.expected, error.actual] == ["account-1", 1, 2], "a conflict with its facts")
ok(Balance.count.zero?, "the transaction's own rows are gone with it")

balance = Balance.create(amount: 1)
Balance[balance.id].update(amount: 2)
refused(Sequel::Plugins::OptimisticLocking::Error) { balance.update(amount: 3) }
ok(error.is_a?(Sequel::Plugins::OptimisticLocking::Error), "one handler serves rows with a lock_version and aggregates")

[[Sequel::SerializationFailure, 1], [Sequel::DatabaseError, 1], [Sequel::NoExistingObject, 4]].each do |kind, expected|
  calls = 0
  refused(Eventstore::VersionConflict) do
    DB.transaction(retry_on: kind, num_retries: 3) do
      calls += 1
      DB.append("account-1", [USED], 1)
    end
  end
  ok(calls == expected, "retry_on: #{kind} runs it #{expected} times")
end

%w[40001 40P01].each do |state|
  calls = 0
  refused(Sequel::SerializationFailure) do
    DB.decide_again(attempts: 3) do
      calls += 1
      DB.run("DO $$ BEGIN RAISE SQLSTATE '#{state}'; END $$")
    end
  end
  ok(calls == 3, "#{state} starts again")
end
calls = 0
refused(Sequel::DatabaseError) do
  DB.decide_again do
    calls += 1
    DB.run("SELECT 1/0")
  end
end
ok(calls == 1, "decide_again lets other errors through at once")
calls = 0
refused(Eventstore::VersionConflict) do
  DB.decide_again(attempts: 3) do
    calls += 1
    DB.append("account-1", [USED], 77)
  end
end
ok(calls == 3, "and a conflict that stays in the end")

workers = Array.new(4) do
  Thread.new do
    5.times do
      # Decided on what was read: the total is wrong, not only late, if that was old.
      DB.decide_again(attempts: 50) do
        events, version = DB.read_aggregate("account-2")
        DB.append("account-2", [{ type: "deposited", data: { total: events.size + 1 } }], version)
      end
    end
  end
end
workers.each(&:join)
events, version = DB.read_aggregate("account-2")
ok(version == 20 && events.map { |event| event[:data]["total"] } == (1..20).to_a,
   "of racing deposits none is lost or decided on old facts")
