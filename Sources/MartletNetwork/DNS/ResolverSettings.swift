package import NIOCore

/// Whom names are asked of, and how much at a time.
package struct ResolverSettings: Hashable, Sendable {
    /// Recursive name servers, `address` or `address@port`. Empty: those that ``resolvConf`` names.
    package var servers: [String] = []
    /// Read once. Without a server in it, libunbound asks the root's servers and whom they name.
    package var resolvConf = "/etc/resolv.conf"
    /// Names that this machine knows itself; they come before DNS, and are not secure. A file that is not there holds none.
    package var hostsFile = "/etc/hosts"
    /// DS or DNSKEY records of the root, or of a zone of one's own. Without it nothing is validated, and no answer is secure.
    package var trustAnchorFile: String?
    /// From asking to an answer, waiting for one's turn included.
    package var timeout = TimeAmount.seconds(10)
    /// Questions that are asked at a time.
    package var questionsMax = 64
    /// Those who wait for answers, whichever.
    package var waitersMax = 4_096

    package init() {}

    /// Where Debian has the keys of the root: as `unbound-anchor` keeps them up to date, and as `dns-root-data` brings them.
    package static let debianTrustAnchorFiles = ["/var/lib/unbound/root.key", "/usr/share/dns/root.key"]

    /// The first of the usual files that is there and can be read.
    package static var usualTrustAnchorFile: String? {
        debianTrustAnchorFiles.first { (try? FileContents.read($0)) != nil }
    }

    /// What libunbound may hold in memory, and how it behaves: option and value as in `unbound.conf(5)`.
    ///
    /// Negative answers are kept as long as they say (RFC 2308 §5), five minutes at most: a domain that is being set up should not have to
    /// wait longer. A resolver on this machine is an ordinary one.
    ///
    /// That a server did not answer is forgotten after five seconds. libunbound would leave it alone the longer, the longer it was silent: after
    /// a minute without a network every question failed at once for 42 seconds more, and now the first one is answered.
    static let options: [(name: String, value: String)] = [
        ("msg-cache-size:", "4m"), ("rrset-cache-size:", "8m"), ("key-cache-size:", "1m"), ("neg-cache-size:", "1m"),
        ("infra-cache-numhosts:", "1000"), ("infra-host-ttl:", "5"), ("cache-max-ttl:", "86400"), ("cache-max-negative-ttl:", "300"),
        ("outgoing-range:", "256"), ("num-queries-per-thread:", "256"), ("do-not-query-localhost:", "no"),
    ]
}

/// Why names cannot be asked for with those settings.
package enum ResolverError: Error, Hashable, Sendable, CustomStringConvertible {
    case notAServer(String)
    case unreadable(file: String, String)
    case refused(setting: String, String)

    package var description: String {
        switch self {
        case .notAServer(let text): "\(text) is not the address of a name server: write 192.0.2.53 or 2001:db8::53, with @PORT if it is not 53"
        case .unreadable(let file, let why): "\(file) cannot be read: \(why)"
        case .refused(let setting, let why): "the resolver refuses \(setting): \(why)"
        }
    }
}
