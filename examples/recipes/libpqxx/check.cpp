/* Run the recipe on the database of PGHOST, PGDATABASE and so on. */
#include "eventstore.hpp"

#include <iostream>
#include <vector>

static const char *const used = R"([{"type": "used"}])";

static void ok(bool condition, const std::string &what)
{
	std::cout << (condition ? "ok - " : "not ok - ") << what << std::endl;
	if (!condition)
		std::exit(1);
}

template <typename Error, typename Work>
static Error refused(Work &&work)
{
	try
	{
		work();
	}
	catch (const Error &error)
	{
		return error;
	}
	ok(false, "nothing was thrown");
	std::abort();
}

static void deposit_five()
{
	pqxx::connection connection;

	for (int i = 0; i < 5; i++)
		eventstore::decide_again(connection, [](pqxx::work &transaction) {
			/* Decided on what was read: the total is wrong, not only late, if that was old. */
			auto [version, events] = eventstore::read(transaction, "account-2");
			auto total = std::to_string(events.size() + 1);

			return eventstore::append(transaction, "account-2",
									  R"([{"type": "deposited", "data": {"total": )" + total + "}}]", version);
		}, 50);
}

int main()
{
	pqxx::connection connection;
	int calls = 0;

	eventstore::decide_again(connection, [](pqxx::work &transaction) {
		transaction.exec("CREATE TABLE pqxx_note (note text)");
		ok(eventstore::append(transaction, "account-1", R"([{"type": "opened"}, {"type": "used"}])", 0) == 2, "append");
		/* A key that looks like a detail. */
		eventstore::append(transaction, R"(", "expected": 70, "actual": 71)", used, 0);
		return 0;
	});

	auto conflict = refused<eventstore::version_conflict>([&] {
		pqxx::perform([&] {
			pqxx::work transaction(connection);

			calls++;
			transaction.exec("INSERT INTO pqxx_note VALUES ('stale')");
			eventstore::append(transaction, "account-1", used, 1);
			transaction.commit();
		}, 3);
	});
	ok(calls == 1, "pqxx::perform() lets a conflict through at once");
	ok(conflict.expected == 1 && conflict.actual == 2, "with its facts");
	eventstore::decide_again(connection, [](pqxx::work &transaction) {
		ok(transaction.exec("SELECT FROM pqxx_note").empty(), "the transaction's own rows are gone with it");
		return 0;
	});
	auto imitated = refused<eventstore::version_conflict>([&] {
		pqxx::work transaction(connection);

		eventstore::append(transaction, R"(", "expected": 70, "actual": 71)", used, 5);
	});
	ok(imitated.expected == 5 && imitated.actual == 1, "which no key can imitate");

	for (const auto &[state, times] : std::vector<std::pair<std::string, int>>{{"40001", 3}, {"40P01", 3}, {"22012", 1}})
	{
		calls = 0;
		refused<pqxx::failure>([&] {
			eventstore::decide_again(connection, [&, state = state](pqxx::work &transaction) {
				calls++;
				transaction.exec("DO $$ BEGIN RAISE SQLSTATE '" + state + "'; END $$");
				return 0;
			}, 3);
		});
		ok(calls == times, state + " runs it " + std::to_string(times) + " times");
	}
	calls = 0;
	refused<eventstore::version_conflict>([&] {
		eventstore::decide_again(connection, [&](pqxx::work &transaction) {
			calls++;
			return eventstore::append(transaction, "account-1", used, 77);
		}, 3);
	});
	ok(calls == 3, "a conflict that stays comes through in the end");

	std::vector<std::thread> workers;
	for (int i = 0; i < 4; i++)
		workers.emplace_back(deposit_five);
	for (auto &worker : workers)
		worker.join();
	eventstore::decide_again(connection, [](pqxx::work &transaction) {
		auto [version, events] = eventstore::read(transaction, "account-2");
		bool right = version == 20;
		int total = 0;

		for (const auto &event : events)
			right = right && event["data"].as<std::string>() == "{\"total\": " + std::to_string(++total) + "}";
		ok(right, "of racing deposits none is lost or decided on old facts");
		return 0;
	});
	return 0;
}
