import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ThreadLocalRandom;
import org.postgresql.util.PSQLException;

/**
 * Read, decide, append, and again after a conflict: with JDBC.
 *
 *     java -cp /usr/share/java/postgresql.jar:/usr/share/java/gson.jar Counter.java KEY WORKERS INCREMENTS [ATTEMPTS]
 *
 * Each worker increments the counter KEY so many times, all of them at once.  The database is that of the environment
 * variables PGHOST (no socket: JDBC has TCP only), PGPORT, PGDATABASE, PGUSER, PGPASSWORD and PGOPTIONS.
 *
 * Needs the Debian packages default-jdk-headless, libpostgresql-jdbc-java and libgoogle-gson-java.
 */
public class Counter {
    /** VE001 is ours: decide again. 40001 and 40P01 are PostgreSQL's own for "start again". */
    static final Set<String> TRY_AGAIN = Set.of("VE001", "40001", "40P01");

    record Event(long version, String data) {}

    interface Decision {
        String decide(List<Event> events);
    }

    interface Listener {
        void conflict(SQLException error);
    }

    /** Appends what the decision makes of the aggregate; returns its new version. */
    static long change(Connection db, String key, Decision decision, int attempts, Listener listener)
            throws SQLException, InterruptedException {
        db.setAutoCommit(false);
        for (int attempt = 1; ; attempt++) {
            try {
                List<Event> events = read(db, key);
                long version = events.isEmpty() ? 0 : events.get(events.size() - 1).version();
                version = append(db, key, decision.decide(events), version);
                db.commit();
                return version;
            } catch (SQLException error) {
                db.rollback();
                if (!TRY_AGAIN.contains(error.getSQLState()) || attempt == attempts) {
                    throw error;
                }
                listener.conflict(error);
            }
            Thread.sleep(ThreadLocalRandom.current().nextLong(Math.min(1000, 5L << Math.min(attempt, 8))));
        }
    }

    static List<Event> read(Connection db, String key) throws SQLException {
        try (PreparedStatement read = db.prepareStatement("SELECT version, data FROM es_read(?)")) {
            read.setString(1, key);
            List<Event> events = new ArrayList<>();
            ResultSet rows = read.executeQuery();
            while (rows.next()) {
                events.add(new Event(rows.getLong("version"), rows.getString("data")));
            }
            return events;
        }
    }

    static long append(Connection db, String key, String events, long version) throws SQLException {
        try (PreparedStatement append = db.prepareStatement("SELECT es_append(?, ?::jsonb, ?)")) {
            append.setString(1, key);
            append.setString(2, events);
            append.setLong(3, version);
            ResultSet row = append.executeQuery();
            row.next();
            return row.getLong(1);
        }
    }

    /** The facts of a conflict are in DETAIL, as JSON. */
    static String describe(SQLException error) {
        if (!(error instanceof PSQLException server) || !"VE001".equals(error.getSQLState())) {
            return "conflict: SQLSTATE " + error.getSQLState();
        }
        JsonObject detail = JsonParser.parseString(server.getServerErrorMessage().getDetail()).getAsJsonObject();
        JsonObject conflict = detail.getAsJsonArray("conflicts").get(0).getAsJsonObject();
        return "conflict: expected version " + conflict.get("expected") + ", actual " + conflict.get("actual");
    }

    /** The decision: it is wrong, and not only late, if the events are old. */
    static String increment(List<Event> events) {
        long value = events.isEmpty() ? 0
                : JsonParser.parseString(events.get(events.size() - 1).data()).getAsJsonObject().get("value").getAsLong();
        return "[{\"type\": \"incremented\", \"data\": {\"value\": " + (value + 1) + "}}]";
    }

    static boolean work(int worker, String key, int increments, int attempts) throws Exception {
        int[] conflicts = {0};
        Listener listener = error -> {
            conflicts[0]++;
            System.err.println(describe(error));
        };
        try (Connection db = connect()) {
            for (int i = 0; i < increments; i++) {
                change(db, key, Counter::increment, attempts, listener);
            }
        } catch (SQLException error) {
            if (!TRY_AGAIN.contains(error.getSQLState())) {
                throw error;
            }
            System.err.println("worker " + worker + " gives up: " + describe(error));
            return false;
        }
        System.out.println("worker " + worker + ": " + increments + " increments, " + conflicts[0] + " conflicts");
        return true;
    }

    static Connection connect() throws SQLException {
        String user = System.getenv().getOrDefault("PGUSER", System.getProperty("user.name"));
        Properties properties = new Properties();
        properties.setProperty("user", user);
        properties.setProperty("password", System.getenv().getOrDefault("PGPASSWORD", ""));
        properties.setProperty("options", System.getenv().getOrDefault("PGOPTIONS", ""));
        return DriverManager.getConnection("jdbc:postgresql://"
                + System.getenv().getOrDefault("PGHOST", "localhost") + ":"
                + System.getenv().getOrDefault("PGPORT", "5432") + "/"
                + System.getenv().getOrDefault("PGDATABASE", user), properties);
    }

    public static void main(String[] args) throws Exception {
        if (args.length != 3 && args.length != 4) {
            System.err.println("usage: Counter.java KEY WORKERS INCREMENTS [ATTEMPTS]");
            System.exit(1);
        }
        int workers = Integer.parseInt(args[1]);
        int increments = Integer.parseInt(args[2]);
        int attempts = args.length == 4 ? Integer.parseInt(args[3]) : 10;
        ExecutorService pool = Executors.newFixedThreadPool(workers);
        List<Callable<Boolean>> tasks = new ArrayList<>();
        for (int i = 1; i <= workers; i++) {
            int worker = i;
            tasks.add(() -> work(worker, args[0], increments, attempts));
        }
        boolean done = true;
        try {
            for (Future<Boolean> outcome : pool.invokeAll(tasks)) {
                done &= outcome.get();
            }
        } finally {
            pool.shutdown();
        }
        System.exit(done ? 0 : 1);
    }
}
