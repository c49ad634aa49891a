/*
 * Conditional appends with libpqxx: a version conflict is an exception of its own.
 *
 * pqxx::perform() replays a transaction that lost its connection or was rolled back by
 * the server (40001, 40P01), and nothing else: a conflict comes through it at once.
 */
#ifndef EVENTSTORE_HPP
#define EVENTSTORE_HPP

#include <chrono>
#include <cstdlib>
#include <optional>
#include <random>
#include <regex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include <pqxx/pqxx>

namespace eventstore {

/* The aggregate is not where it was read: read it again, and decide again. */
class version_conflict : public std::runtime_error
{
public:
	const std::string detail;				/* the line of JSON, with every refusal */
	const std::optional<long long> expected;
	const long long actual;

	/* libpqxx has DETAIL inside of the message only. */
	explicit version_conflict(const std::string &message)
		: std::runtime_error(message.substr(0, message.find('\n'))),
		  detail(field(message, "DETAIL:  (.*)")),
		  expected(field(detail, "\"expected\": (\\d+)").empty()
				   ? std::nullopt
				   : std::optional<long long>(std::stoll(field(detail, "\"expected\": (\\d+)")))),
		  actual(std::stoll(field(detail, "\"actual\": (\\d+)")))
	{
	}

private:
	/* Of the first conflict.  A key could only imitate a field with quotes, which JSON escapes. */
	static std::string field(const std::string &text, const std::string &pattern)
	{
		std::smatch match;

		return std::regex_search(text, match, std::regex(pattern)) ? match[1].str() : "";
	}
};

/* The version of an aggregate, and its events as rows of version, type and data. */
inline std::pair<long long, pqxx::result> read(pqxx::transaction_base &transaction, const std::string &key)
{
	auto events = transaction.exec_params("SELECT version, type, data FROM es_read($1)", key);

	return {events.empty() ? 0 : events.back()["version"].as<long long>(), events};
}

/* Append the JSON array events, and return the new version. */
inline long long append(pqxx::transaction_base &transaction, const std::string &key,
						const std::string &events, std::optional<long long> expected_version)
{
	try
	{
		const std::string expected = expected_version ? std::to_string(*expected_version) : "";
		auto rows = transaction.exec_params("SELECT es_append($1, $2, nullif($3, '')::bigint)", key, events, expected);

		return rows[0][0].as<long long>();
	}
	catch (const pqxx::sql_error &error)
	{
		if (error.sqlstate() == "VE001")
			throw version_conflict(error.what());
		throw;
	}
}

/*
 * Run work(transaction) in a transaction, and all of it again after a conflict: it must
 * read before it decides.
 */
template <typename Connection, typename Work>
auto decide_again(Connection &connection, Work &&work, int attempts = 10)
{
	thread_local std::mt19937 random{std::random_device{}()};

	for (int attempt = 1;; attempt++)
	{
		try
		{
			pqxx::work transaction(connection);
			auto result = work(transaction);

			transaction.commit();
			return result;
		}
		catch (const version_conflict &)
		{
			if (attempt == attempts)
				throw;
		}
		catch (const pqxx::transaction_rollback &)
		{
			/* 40001, 40P01 */
			if (attempt == attempts)
				throw;
		}
		std::uniform_int_distribution<int> wait(0, std::min(1000, 5 << std::min(attempt, 8)));
		std::this_thread::sleep_for(std::chrono::milliseconds(wait(random)));
	}
}

}								/* namespace eventstore */

#endif							/* EVENTSTORE_HPP */
