// GETs each URL with reactor-netty, by netty's own resolver or the JVM's; under the Java agent.
import io.netty.resolver.DefaultAddressResolverGroup;
import java.time.Duration;
import reactor.netty.http.client.HttpClient;

public class Shop {
  public static void main(String[] args) throws Exception {
    boolean own = args[0].equals("netty");
    HttpClient base = HttpClient.newConnection().option(io.netty.channel.ChannelOption.CONNECT_TIMEOUT_MILLIS, 500);
    HttpClient client = own ? base : base.resolver(DefaultAddressResolverGroup.INSTANCE);
    for (int i = 1; i < args.length; i++) {
      try {
        System.out.println(args[i] + " " + client.get().uri(args[i]).response().block(Duration.ofSeconds(60)).status());
      } catch (Throwable t) {
        System.out.println(args[i] + " " + t);
      }
    }
  }
}
