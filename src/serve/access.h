/* Who may ask what: the names by which the server may be called (DNS rebinding), the origin of a page (CSRF), API keys
 * and the lock against those who guess them. */
#ifndef CASEMIX_SERVE_ACCESS_H
#define CASEMIX_SERVE_ACCESS_H

#include "serve/keys.h"
#include <stdbool.h>

struct access;
struct error;
struct request;
struct server_settings;
struct sockaddr;

/* Without a file of keys everybody is "local" with role admin: only loopback addresses are then allowed. */
bool access_open(struct access **access, const struct server_settings *settings, struct error *error);
void access_close(struct access *access);
bool access_has_keys(const struct access *access);

enum access_verdict { ACCESS_GRANTED, ACCESS_REFUSED, ACCESS_DELAYED };

/* Looks at the head of a request: its Host, Origin and key; sets request->who, or the refusal. ACCESS_DELAYED: the
 * refusal is to be sent after half a second. A wrong key is refused whatever the route asks for. */
enum access_verdict access_check(struct access *access, struct request *request, const struct sockaddr *client);

/* Reads the file of keys again if it has changed. A file that cannot be read leaves the keys as they are. */
void access_refresh(struct access *access);

/* Whether an address is the machine's own (127.0.0.0/8, ::1). */
bool address_is_loopback(const struct sockaddr *address);

#endif
