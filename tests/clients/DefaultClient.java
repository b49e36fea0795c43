// POSTs with Java's default HttpClient, which offers HTTP/2 with each request over clear text, and counts the answers.
//
// java DefaultClient.java http://127.0.0.1:8080/ REQUESTS THREADS
//
// Prints how many requests were answered and how many were lost, with one reason.

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;

public class DefaultClient {
    /** More than any answer takes: only a request that is never answered meets it. */
    private static final Duration ANSWER_WAIT = Duration.ofSeconds(20);
    private static final String ANSWER = "{\"y\":[2.5]}";

    public static void main(String[] arguments) throws InterruptedException {
        var request = HttpRequest.newBuilder(URI.create(arguments[0]))
            .timeout(ANSWER_WAIT)
            .POST(HttpRequest.BodyPublishers.ofString("{\"x\": [1]}"))
            .build();
        var requests = Integer.parseInt(arguments[1]);
        var threads = Integer.parseInt(arguments[2]);
        var client = HttpClient.newHttpClient();
        var answered = new AtomicInteger();
        var lost = new AtomicInteger();
        var reason = new AtomicReference<String>("none");
        var pool = Executors.newFixedThreadPool(threads);
        for (int i = 0; i < requests; i++) {
            pool.execute(() -> {
                try {
                    var response = client.send(request, BodyHandlers.ofString());
                    if (response.statusCode() != 200 || !response.body().equals(ANSWER)) {
                        throw new IllegalStateException(response.statusCode() + " " + response.body());
                    }
                    answered.incrementAndGet();
                } catch (Exception error) {
                    lost.incrementAndGet();
                    reason.set(error.toString());
                }
            });
        }
        pool.shutdown();
        pool.awaitTermination(5, TimeUnit.MINUTES);
        System.out.printf("answered %d, lost %d: %s%n", answered.get(), lost.get(), reason.get());
    }
}
