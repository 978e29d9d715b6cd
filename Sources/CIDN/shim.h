// Stringprep of the time before PRECIS, for the tests: profiles are arrays, which Swift does not import.
#include <pr29.h>
#include <stringprep.h>

static inline int cidn_nodeprep(char *_Nonnull text, size_t capacity) {
    return stringprep(text, capacity, (Stringprep_profile_flags)0, stringprep_xmpp_nodeprep);
}

static inline int cidn_resourceprep(char *_Nonnull text, size_t capacity) {
    return stringprep(text, capacity, (Stringprep_profile_flags)0, stringprep_xmpp_resourceprep);
}

static inline int cidn_nameprep(char *_Nonnull text, size_t capacity) {
    return stringprep(text, capacity, (Stringprep_profile_flags)0, stringprep_nameprep);
}
