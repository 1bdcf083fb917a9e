// A C++ program can include berth.h and use what it declares.
#include <berth/berth.h>

#include <cstring>

int main()
{
        berth_interface_options options = {};
        berth_network *network = nullptr;
        berth *connection = nullptr;

        options.size = sizeof(options);
        if (berth_new(&connection) < 0)
                return 1;
        // Nothing is connected: each of these fails, and says so.
        if (berth_acquire(connection, "shared", &network) >= 0 || !std::strlen(berth_error(connection)))
                return 1;
        if (berth_connect(connection, "/nowhere", BERTH_CONNECT_NO_START) >= 0)
                return 1;
        berth_event_type type = BERTH_EVENT_ACQUIRED;
        berth_interface_free(nullptr);
        berth_network_free(network);
        return berth_free(connection) == nullptr && type == 1 && std::strlen(berth_version()) > 0 ? 0 : 1;
}
