#!/usr/bin/env ruby
# frozen_string_literal: true

# Read, decide, append, and again after a conflict: with ruby-pg.
#
#     counter.rb KEY WORKERS INCREMENTS [ATTEMPTS]
#
# Each worker increments the counter KEY so many times, all of them at once.  The
# database is that of the environment variables PGHOST, PGDATABASE and so on.
#
# Needs the Debian packages ruby and ruby-pg, or the gem pg.

require 'json'
require 'pg'

# VE001 is ours: decide again.  40001 and 40P01 are PostgreSQL's own for "start again".
TRY_AGAIN = %w[VE001 40001 40P01].freeze

# Append what the block makes of the aggregate's events; return the new version.
def change(db, key, attempts: 10, on_conflict: nil)
  attempt = 1
  begin
    db.transaction do
      events = db.exec_params('SELECT version, data FROM es_read($1)', [key]).to_a
      version = events.empty? ? 0 : events.last['version']
      decided = JSON.generate(yield(events))
      db.exec_params('SELECT es_append($1, $2, $3)', [key, decided, version]).getvalue(0, 0).to_i
    end
  rescue PG::Error => e
    raise if !TRY_AGAIN.include?(sqlstate(e)) || attempt == attempts

    on_conflict&.call(e)
    sleep(rand * [1, 0.005 * 2**attempt].min)
    attempt += 1
    retry
  end
end

# There is no result if the server was not there to give one.
def sqlstate(error)
  error.result&.error_field(PG::PG_DIAG_SQLSTATE)
end

# The facts of a conflict are in DETAIL, as JSON.
def describe(error)
  return "conflict: SQLSTATE #{sqlstate(error)}" if sqlstate(error) != 'VE001'

  conflict = JSON.parse(error.result.error_field(PG::PG_DIAG_MESSAGE_DETAIL))['conflicts'].first
  "conflict: expected version #{conflict['expected']}, actual #{conflict['actual']}"
end

# The decision: it is wrong, and not only late, if the events are old.
def increment(events)
  value = events.empty? ? 0 : JSON.parse(events.last['data'])['value']
  [{ type: 'incremented', data: { value: value + 1 } }]
end

def work(worker, key, increments, attempts)
  db = PG.connect
  conflicts = 0
  on_conflict = lambda do |error|
    conflicts += 1
    warn describe(error)
  end
  increments.times do
    change(db, key, attempts: attempts, on_conflict: on_conflict) { |events| increment(events) }
  end
  $stdout.write("worker #{worker}: #{increments} increments, #{conflicts} conflicts\n")
  true
rescue PG::Error => e
  raise unless TRY_AGAIN.include?(sqlstate(e))

  warn "worker #{worker} gives up: #{describe(e)}"
  false
ensure
  db&.close
end

abort 'usage: counter.rb KEY WORKERS INCREMENTS [ATTEMPTS]' unless [3, 4].include?(ARGV.size)
key, workers, increments, attempts = ARGV
Thread.report_on_exception = false # value below raises it again
threads = (1..workers.to_i).map do |worker|
  Thread.new { work(worker, key, increments.to_i, (attempts || 10).to_i) }
end
exit(threads.map(&:value).all?)
