import MartletCore

/// Every key of the configuration, once: the parser, the example file, the reference page and the names of environment
/// variables all come from these tables.
package enum ConfigurationSchema {
    package static let keys = root.keys

    static let root = ConfigurationMapping<ServerConfiguration>([
        .section("server", \.server, server, "The process: where it keeps its files and how it runs."),
        .section(
            "configuration-directory", \.configurationDirectory, configurationDirectory,
            """
            A directory (LDAP) that says parts of this configuration, for several servers at once, over this file and below environment variables. What is changed \
            there is put into force within seconds if the whole is good. Secrets, and what belongs to the machine, stay in the file.
            """),
        .entries(
            "domains", \.domains, domain, .reload, isRequired: true, identity: { $0.name },
            "The domains that this server hosts."),
        .entries(
            "listeners", \.listeners, listener, .restart, counts: 1...64, identity: identity,
            "The ports on which the server listens."),
        .section("limits", \.limits, limits, "How much anybody may use. A client that exceeds one is told so."),
        .section("idle", \.idle, idle, "How connections that have died are found."),
        .section("authentication", \.authentication, authentication, "How accounts prove who they are."),
        .entries(
            "login-groups", \.loginGroups, loginGroup, .reload, counts: 0...loginGroupsMax, identity: { $0.name }, "Accounts that login-rules name together."),
        .entries(
            "login-rules", \.loginRules, loginRule, .reload, counts: 0...loginRulesMax, identity: { $0.name },
            """
            Who may log in how, where that is not what authentication says for everybody. Of a rule all conditions that are given have to hold; the first rule \
            that matches decides, alone. A client that uses a mechanism which its account may not use is told mechanism-too-weak, whether its password was right \
            or wrong. A reload ends sessions whose accounts may not log in any more as they have done. martlet auth explain tells what holds for an account.
            """),
        .section(
            "client-certificates", \.clientCertificates, clientCertificates,
            "Log-in with certificates (SASL EXTERNAL), at domains whose client-certificates asks for them."),
        .entries(
            "oauth", \.oauth, oauth, .reload, counts: 0...16, identity: { $0.issuer },
            "Authorization servers whose tokens let accounts in beside passwords (OAUTHBEARER, RFC 7628). Accounts are not made by that."),
        .entries(
            "directories", \.directories, directory, .restart, counts: 0...64, identity: { $0.domain },
            "Directories (LDAP) that say who has an account at a domain, and with which password. Without one, accounts are this server's own."),
        .section(
            "directory-clients", \.directoryClients, directoryClients,
            "What directory clients (LDAP) find, such as address books, at listeners of kind ldap and ldaps."),
        .section("kerberos", \.kerberos, kerberos, "Log-in by tickets of Kerberos (SASL GSSAPI, RFC 4752), at domains whose kerberos-realms names realms."),
        .section("accounts", \.accounts, accounts, "Accounts that people make for themselves, and what they may do to their own (XEP-0077)."),
        .section("storage", \.storage, storage, "Where accounts, rosters and messages are kept."),
        .section("messages", \.messages, messages, "What happens to messages besides their delivery."),
        .section("archive", \.archive, archive, "How much of their messages accounts find again (XEP-0313)."),
        .section("push", \.push, push, "What the push services of apps learn when they are told of messages (XEP-0357)."),
        .section("devices", \.devices, devices, "What is remembered of the devices on which accounts are used (XEP-0494)."),
        .section("rooms", \.rooms, rooms, "Rooms for many (XEP-0045). Each domain has its own, at an address of their own."),
        .section("pubsub", \.pubsub, pubsub, "What accounts and services publish (XEP-0163, XEP-0060)."),
        .section("bytestreams", \.bytestreams, bytestreams, "A proxy for files between clients that cannot reach each other (XEP-0065)."),
        .section("uploads", \.uploads, uploads, "Files that accounts upload by HTTP (XEP-0363), for which there is a listener of kind https or http."),
        .section("search", \.search, search, "Where accounts find each other by what they say of themselves in their vCards (XEP-0055)."),
        .entries(
            "block-lists", \.blockLists, blockList, .reload, counts: 0...SharedBlockLists.listsMax, identity: { "\($0.service) \($0.node)" },
            """
            Block lists that others share by PubSub, as SHA-256 of addresses and domains. Whoever is on one enters no room that does not know him, and strangers \
            among them send nothing to accounts.
            """),
        .entries(
            "external-services", \.externalServices, externalService, .reload, counts: 0...64,
            identity: { "\($0.type.rawValue) \($0.address?.description ?? "") \($0.transport?.rawValue ?? "")" },
            "STUN and TURN servers that clients are told of, for calls (XEP-0215)."),
        .entries(
            "components", \.components, component, .reload, counts: 0...1_000, identity: { $0.name },
            "External components: programs beside this server that answer for domains of their own, such as gateways (XEP-0114)."),
        .section("federation", \.federation, federation, "Streams to and from other servers (RFC 6120)."),
        .entries(
            "peers", \.peers, peer, .reload, counts: 0...10_000, identity: { $0.domain },
            "What holds for single other servers, and for the domains below theirs."),
        .section("log", \.log, log, "What the server tells its operator."),
        .section("web", \.web, web, "What is asked for by HTTP, such as XMPP over WebSocket (RFC 7395)."),
        .section("people-page", \.peoplePage, peoplePage, "The white pages of the domains whose people-page is not off."),
        .section(
            "acme", \.acme, acme,
            """
            Certificates that the server gets from an authority by itself, and renews (ACME, RFC 8555). The authority looks by HTTP, on port 80 of each name, \
            whether it is ours.
            """),
        .section("metrics", \.metrics, metrics, "The HTTP port for metrics and health checks."),
        .section("access", \.access, access, "Who may do what."),
    ])

    static let server = ConfigurationMapping<ServerConfiguration.Server>([
        .value(
            "data", \.dataFolder, .path, .restart,
            "Folder of everything the server keeps. It must belong to the server's user and be closed to all others."),
        .value(
            "control-socket", \.controlSocket, .pathInDataFolder, .restart,
            "Local socket by which commands reach the running server. Relative to the data folder."),
        .value(
            "event-loops", \.eventLoops, .integer(0...256), .restart,
            "Threads that serve connections. 0 starts one per processor core."),
        .value("run-as-root", \.runAsRoot, .boolean, .restart, "Whether to start as root. No port or file needs it."),
        .value(
            "stop-timeout", \.stopTimeout, .duration(.seconds(1)...(.seconds(300))), .reload,
            "How long a stop may take: clients are told, queues are flushed, then the process ends."),
    ])

    static let domain = ConfigurationMapping<ServerConfiguration.Domain>([
        .value("name", \.name, .domain, .reload, isRequired: true, example: "example.org", "The domain, as in its addresses."),
        .value(
            "certificate", \.certificate, .optional(.path), .reload, example: "/etc/martlet/example.org.pem",
            """
            PEM file with the certificate and the chain behind it. Relative to this file. Without it the server \
            makes a certificate of its own, which clients must be told to trust.
            """),
        .value(
            "key", \.key, .optional(.path), .reload, example: "/etc/martlet/example.org.key",
            """
            PEM file with the certificate's private key. Relative to this file. Nobody but the server's user should \
            be able to read it.
            """),
        .value(
            "second-certificate", \.secondCertificate, .optional(.path), .reload, example: "/etc/martlet/example.org.rsa.pem",
            """
            PEM file with a second certificate, of RSA beside ECDSA, and the chain behind it. Relative to this file. Each client is shown one that it can \
            verify, of ECDSA if it can.
            """),
        .value(
            "second-key", \.secondKey, .optional(.path), .reload, example: "/etc/martlet/example.org.rsa.key",
            "PEM file with the second certificate's private key. Relative to this file."),
        .value(
            "client-certificates", \.clientCertificates, .choice, .reload,
            """
            off: clients are asked for no certificate. request: whoever has one that client-certificates maps to an account may log in with it instead \
            of a password. require: nobody logs in otherwise; this closes the domain to WebSocket, BOSH and connections whose TLS ends before the server, \
            and nobody makes an account by his client. Clients name the domain to TLS, or begin in the clear and use STARTTLS.
            """),
        .list(
            "kerberos-realms", \.kerberosRealms, of: .kerberosRealm, .reload, counts: 0...16, example: "EXAMPLE.ORG",
            """
            Realms of Kerberos whose principals have accounts here: juliet@EXAMPLE.ORG logs in as juliet@example.org, if there is that account, by a ticket. Each \
            realm is believed about every account of the domain. Without any, tickets are good for nothing here.
            """),
        .list(
            "admins", \.admins, of: .bareAddress, .reload, example: "admin@example.org",
            "Accounts with the admin role in this domain."),
        .list(
            "admin-groups", \.adminGroups, of: .distinguishedName, .reload, example: "cn=xmpp-admins,ou=groups,dc=example,dc=org",
            "Groups of a directory whose members have the admin role in this domain, for as long as they are in them."),
        .entries(
            "shared-groups", \.sharedGroups, sharedGroup, .reload, counts: 0...sharedGroupsMax, identity: { $0.name },
            """
            Groups of accounts that are in rosters without anybody having asked: whoever sees a group has its members as contacts and sees their presence. \
            At most limits.shared-roster-items in a roster.
            """),
        peoplePageAccess,
        .section(
            "presence", \.presence, presenceSharing,
            "Who sees the presence of the domain's accounts without XMPP: directory clients (directory-clients), and whoever looks at people-page."),
        .section(
            "contacts", \.contacts, contacts,
            """
            Addresses by which people reach those who run the domain, shown to anybody who asks (XEP-0157). Each is \
            a URI: mailto:, xmpp: or https:.
            """),
        .section(
            "data-policy", \.dataPolicy, dataPolicy,
            """
            What becomes of the data of those who have accounts, shown to anybody who asks (XEP-0504). If anything of it is set, the server adds \
            what it knows: for how long messages are kept, and whether it sees passwords.
            """),
    ])

    static let dataPolicy = ConfigurationMapping<ServerConfiguration.DataPolicy>([
        .value("terms", \.terms, .optional(.uri), .reload, example: "https://example.org/terms", "The terms of service."),
        .list(
            "access", \.access, of: .choice, .reload, example: "admins",
            """
            Who besides their owner may see data: admins, moderators, organization_member, government, advertisers, partners; or none, alone.
            """),
        .value(
            "encrypted-at-rest", \.isEncryptedAtRest, .optional(.boolean), .reload, example: "true",
            "Whether the disks of the data and of its backups are encrypted."),
        .value(
            "backup-interval", \.backupInterval, .optional(.duration(.zero...(.seconds(366 * 86_400)))), .reload, example: "24h",
            "How much time is between two backups at most, in whole hours. 0s says that there are none."),
        .value(
            "backup-retention", \.backupRetention, .optional(.duration(.zero...(.seconds(10 * 366 * 86_400)))), .reload, example: "30d",
            "For how long backups are kept, in whole hours."),
    ])

    static let contacts = ConfigurationMapping<ServerConfiguration.Contacts>([
        contact("abuse", \.abuse, "For reports of abuse."),
        contact("admin", \.admin, "Of those who run the domain."),
        contact("feedback", \.feedback, "For feedback from customers."),
        contact("sales", \.sales, "For questions about buying."),
        contact("security", \.security, "For reports of security problems."),
        contact("status", \.status, "Where the state of the service is shown."),
        contact("support", \.support, "For help."),
        .list(
            "outage", \.outage, of: .uri, .reload, example: "https://status.example.net/outage.json",
            """
            Files in the format of XEP-0455, on other machines, that say what is wrong and until when. Clients look there when they cannot \
            reach the server.
            """),
    ])

    private static func contact(
        _ name: String, _ property: ConfigurationField<ServerConfiguration.Contacts>.Property<[String]>, _ summary: String
    ) -> ConfigurationField<ServerConfiguration.Contacts> {
        .list(name, property, of: .uri, .reload, example: "mailto:\(name)@example.org", summary)
    }

    static let listener = ConfigurationMapping<ServerConfiguration.Listener>([
        .value(
            "kind", \.kind, .choice, .restart, isRequired: true, example: "client",
            """
            client: XMPP clients, encrypted after STARTTLS. client-tls: XMPP clients, encrypted from the first byte \
            (XEP-0368). server and server-tls: the same for other servers. https: XMPP over WebSocket (RFC 7395) at \
            /xmpp-websocket and over BOSH (XEP-0206) at /http-bind, where clients find these, and uploaded files (XEP-0363) at /upload/. \
            http: the same without encryption, behind a reverse proxy. component and \
            component-tls: components (XEP-0114), without encryption and encrypted from the first byte; not opened if there are no components. \
            ldap and ldaps: directory clients (directory-clients), encrypted after StartTLS and from the first byte.
            """),
        .value(
            "port", \.port, .integer(1...65535), .restart, isRequired: true, example: "5222",
            """
            TCP port. Clients expect 5222 for client and 5223 for client-tls, servers 5269 for server, unless DNS says otherwise; 5443 is usual for https, \
            5347 for component, 389 and 636 for ldap and ldaps.
            """),
        .list(
            "addresses", \.addresses, of: .ipAddress, .restart, counts: 1...64,
            """
            Addresses on which the port is opened. 0.0.0.0 is every IPv4 and :: every IPv6 address of the machine. For component and component-tls the \
            default is 127.0.0.1 and ::1.
            """),
        .list(
            "proxy-sources", \.proxySources, of: .addressBlock, .restart, example: "192.0.2.0/24",
            """
            Load balancers in front of this listener. A connection from one of them must begin with a PROXY \
            protocol header (version 1 or 2), whose address is then used for limits and logs. Nobody else's header \
            is accepted. For http: reverse proxies whose X-Forwarded-For and X-Forwarded-Proto are believed.
            """),
        .value(
            "plaintext-authentication", \.plaintextAuthentication, .boolean, .restart,
            "Whether clients may log in without encryption. Only for a listener on loopback, or behind a proxy that ends TLS."),
        .value(
            "tls-profile", \.tlsProfile, .choice, .restart,
            """
            What is asked of TLS. intermediate: TLS 1.2 with ECDHE and AES-GCM or ChaCha20-Poly1305, and TLS 1.3. modern: TLS 1.3 alone. strict: TLS 1.3, with \
            keys agreed on by P-384 alone.
            """),
    ])

    static let limits = ConfigurationMapping<ServerConfiguration.Limits>([
        .value(
            "stanza-bytes", \.stanzaBytesMax, .bytes(10_000...(16 * mebibyte)), .reload,
            "Longest stanza from a client. RFC 6120 asks for at least 10000 bytes."),
        .value(
            "stanza-bytes-before-authentication", \.stanzaBytesBeforeAuthenticationMax, .bytes(10_000...(256 * kibibyte)),
            .reload,
            "Longest element from a client that has not logged in."),
        .value("stanza-depth", \.stanzaDepthMax, .integer(8...128), .reload, "Deepest nesting of elements in a stanza."),
        .value("stanza-elements", \.stanzaElementsMax, .integer(64...100_000), .reload, "Most elements in a stanza."),
        .value("element-attributes", \.elementAttributesMax, .integer(16...1024), .reload, "Most attributes of an element."),
        .value(
            "stanza-bytes-per-second", \.stanzaBytesPerSecond, .orOff(.bytes(1000...(1024 * mebibyte))), .reload,
            "What a client may send per second in the long run. Faster ones are read more slowly; nothing is lost."),
        .value(
            "stanza-bytes-burst", \.stanzaBytesBurst, .bytes(10_000...(1024 * mebibyte)), .reload,
            "What a client may send at once before that rate applies."),
        .value(
            "streams-per-address", \.streamsPerAddressMax, .integer(1...1_000_000), .reload,
            "Most connections from one network address."),
        .value(
            "unauthenticated-streams", \.unauthenticatedStreamsMax, .integer(1...1_000_000), .reload,
            "Most connections that have not logged in, all together."),
        .value(
            "unauthenticated-bytes", \.unauthenticatedBytesMax, .bytes(4 * mebibyte...(64 * 1024 * mebibyte)), .reload,
            """
            Most memory for connections that have not logged in, all together: 40 KiB for each, and what they have sent of \
            elements that are not complete. Past it new connections are refused. A quarter is the most for bodies of HTTP requests.
            """),
        .value(
            "login-deadline", \.loginDeadline, .duration(.seconds(5)...(.seconds(600))), .reload,
            "Time from connecting to a session. A connection that takes longer is closed."),
        .value(
            "sessions-per-account", \.sessionsPerAccountMax, .integer(1...64), .reload,
            "Most sessions of an account at a time."),
        .value(
            "resource-conflict", \.resourceConflict, .choice, .reload,
            """
            What happens when a client asks for a resource that is in use: replace-old ends the older session, \
            refuse-new refuses the newer one.
            """),
        .value(
            "session-queue-bytes", \.sessionQueueBytesMax, .bytes(256 * kibibyte...(1024 * mebibyte)), .restart,
            "Most that waits for a client that reads slowly. Past it the session ends; its messages are kept."),
        .value(
            "resumption-timeout", \.resumptionTimeout, .duration(.seconds(0)...(.seconds(86_400))), .restart,
            """
            For how long a session goes on whose connection broke, so that its client can resume it (XEP-0198). 0s: not at all.
            """),
        .value(
            "unacknowledged-stanzas", \.unacknowledgedStanzasMax, .integer(100...1_000_000), .restart,
            "Most stanzas that a client may leave unacknowledged (XEP-0198). Past it the session ends; its messages are kept."),
        .value(
            "unacknowledged-bytes", \.unacknowledgedBytesMax, .bytes(64 * kibibyte...(1024 * mebibyte)), .restart,
            "Most bytes of them."),
        .value(
            "held-stanzas", \.heldStanzasMax, .integer(0...100_000), .restart,
            """
            Most presence and chat states that wait for a client which says that nobody looks at it (XEP-0352), or whose connection broke. \
            Past it they are sent. 0: nothing waits.
            """),
        .value(
            "held-bytes", \.heldBytesMax, .bytes(16 * kibibyte...(16 * mebibyte)), .restart,
            "Most bytes of them that wait for one client."),
        .value(
            "parked-stanzas", \.parkedStanzasMax, .integer(1...100_000), .reload,
            "Most stanzas that wait while an account's data is loaded. Further ones are refused for the moment."),
        .value(
            "parked-bytes", \.parkedBytesMax, .bytes(64 * kibibyte...(1024 * mebibyte)), .reload,
            "Most bytes of stanzas that wait while an account's data is loaded."),
        .value("roster-items", \.rosterItemsMax, .integer(1...100_000), .reload, "Most contacts of an account."),
        .value(
            "shared-roster-items", \.sharedRosterItemsMax, .integer(1...100_000), .reload,
            "Most contacts that groups put into a roster besides. Past it, the groups that come last by name are left out, and the log says so."),
        .value(
            "offline-messages", \.offlineMessagesMax, .integer(0...1_000_000), .reload,
            "Most messages kept for an account that is offline. Further ones are refused, and their senders told."),
        .value(
            "offline-bytes", \.offlineBytesMax, .bytes(0...(4096 * mebibyte)), .reload,
            "Most bytes of messages kept for an account that is offline."),
        .value(
            "blocked-addresses", \.blockedAddressesMax, .integer(0...100_000), .reload,
            "Most addresses an account can block (XEP-0191)."),
        .value("vcard-bytes", \.vCardBytesMax, .bytes(0...(16 * mebibyte)), .reload, "Largest vCard (XEP-0054)."),
        .value(
            "private-storage-bytes", \.privateStorageBytesMax, .bytes(0...(64 * mebibyte)), .reload,
            "Most private data of an account, all elements together (XEP-0049)."),
        .value(
            "push-registrations", \.pushRegistrationsMax, .integer(1...100), .reload,
            """
            Most devices of an account that are told of messages while they are away (XEP-0357). Past it, the one that registered first \
            gives way.
            """),
    ])

    static let idle = ConfigurationMapping<ServerConfiguration.Idle>([
        .value(
            "ping-after", \.pingAfter, .orOff(.duration(.seconds(10)...(.seconds(86_400)))), .reload,
            "After this time without a byte from a client it is asked for a sign of life (XEP-0199)."),
        .value(
            "ping-timeout", \.pingTimeout, .duration(.seconds(1)...(.seconds(600))), .reload,
            "How long a client has to answer. Then its connection counts as lost."),
        .value(
            "tcp-user-timeout", \.tcpUserTimeout, .orOff(.duration(.seconds(5)...(.seconds(3600)))), .reload,
            """
            After this time without acknowledgement of data that was sent, the system gives a connection up. \
            Applies to new connections.
            """),
    ])

    static let authentication = ConfigurationMapping<ServerConfiguration.Authentication>([
        .list(
            "mechanisms", \.mechanisms, of: .choice, .reload, counts: 1...AuthenticationMechanism.allCases.count,
            "SASL mechanisms that are offered. PLAIN is offered only on encrypted connections."),
        .list(
            "upgrades", \.upgrades, of: .choice, .reload, counts: 0...UpgradeMechanism.allCases.count,
            """
            Mechanisms for which keys are made up as accounts that lack them log in: by the client, if it can (XEP-0480), or by the server, to which PLAIN tells \
            the password. Also mechanisms that are not offered yet. Empty: none.
            """),
        .value(
            "channel-binding", \.channelBinding, .boolean, .reload,
            """
            Whether SCRAM is offered with channel binding too (-PLUS; tls-exporter with TLS 1.3, tls-server-end-point), which \
            finds an attacker in the middle. Off, because some clients (slixmpp over TLS 1.2) take another binding than the \
            ones announced and fail to log in. Never switch it on behind a proxy that ends TLS.
            """),
        .value(
            "scram-iterations", \.scramIterations, .integer(4096...100_000), .reload,
            "Rounds of hashing behind a stored password. Applies to passwords that are set from then on."),
        .value(
            "tries-per-stream", \.triesPerStreamMax, .integer(1...20), .reload,
            "Failed log-ins after which a connection is closed."),
        .value(
            "failures-per-address", \.failuresPerAddressMax, .integer(1...100_000), .reload,
            "Failed log-ins from one network address before further tries from it are slowed down."),
        .value(
            "failure-recovery-per-address", \.failureRecoveryPerAddress,
            .duration(.milliseconds(100)...(.seconds(3600))), .reload,
            "Time after which one of these failures is forgotten."),
        .value(
            "failures-per-account", \.failuresPerAccountMax, .integer(1...100_000), .reload,
            "Failed log-ins to one account before further tries are slowed down. An account is never locked."),
        .value(
            "failure-recovery-per-account", \.failureRecoveryPerAccount,
            .duration(.milliseconds(100)...(.seconds(3600))), .reload,
            "Time after which one of these failures is forgotten."),
        .value(
            "password-hashes", \.concurrentPasswordHashesMax, .integer(1...64), .restart,
            "Passwords hashed at the same time, each on a thread of its own, for PLAIN and for setting passwords."),
        .value(
            "password-hash-queue", \.queuedPasswordHashesMax, .integer(1...100_000), .restart,
            "Most passwords that wait to be hashed. Further ones are refused for the moment."),
    ])

    static let clientCertificates = ConfigurationMapping<ServerConfiguration.ClientCertificates>([
        .value(
            "trust-anchors", \.trustAnchors, .optional(.path), .reload, example: "/etc/martlet/people-ca.pem",
            "PEM file with the authorities that are believed about people. Relative to this file. Nobody else's certificates are."),
        .value(
            "authorities", \.authorities, .optional(.path), .reload, example: "/etc/martlet/people-issuing.pem",
            "PEM file with certificates of authorities below these that clients need not send. Relative to this file."),
        .list(
            "policies", \.policies, of: .objectIdentifier, .reload, counts: 0...16, example: "1.3.6.1.4.1.99999.1.2",
            "Certificate policies, by their object identifiers, one of which has to hold (RFC 5280 §6.1). Without it, none is asked for."),
        .list(
            "mapping", \.mapping, of: .choice, .reload, counts: 1...CertificateMapping.allCases.count, example: "xmpp-address",
            """
            Where the account is found, in this order; the first that leads to exactly one account that may come in decides. xmpp-address: id-on-xmppAddr. \
            published: the certificate is in client-certificates.published. mail: the mailbox, from authorities in client-certificates.mail-authorities. \
            upn: Microsoft's userPrincipalName. subject: as client-certificates.subject says.
            """),
        .value(
            "mail-authorities", \.mailAuthorities, .optional(.path), .reload, example: "/etc/martlet/mail-ca.pem",
            """
            PEM file with authorities that are believed about mailboxes, if the address of the mailbox is that of the account. Relative to this file. They do \
            not count as trust anchors.
            """),
        .value(
            "subject", \.subject, .optional(.subjectTemplate), .reload, example: "CN=*,UID={localpart},O=Example,DC=example,DC=org",
            """
            How subjects look that name accounts: a distinguished name (RFC 4514), the most special part first, one value of which is {localpart}; * is any \
            value.
            """),
        .value(
            "published", \.published, .optional(.path), .reload, example: "/etc/martlet/people",
            """
            Folder with a PEM file for each account that has certificates, such as juliet@example.org.pem; 10,000 at most. Relative to this file. Read by each \
            reload.
            """),
        .value(
            "require-published", \.needsPublished, .boolean, .reload,
            "Whether a certificate has to be in client-certificates.published as the account's, however the account is found: taking it out there ends its use."),
        .value(
            "user-managed", \.isUserManaged, .boolean, .reload,
            """
            Whether accounts may add certificates of their own, by their clients (XEP-0257). These need no authority. Whoever is logged in, by whatever \
            means, can then let others in, also after the password has been changed.
            """),
        .section("revocation", \.revocation, revocation, "How it is found out whether certificates of clients are revoked. No log-in waits for it."),
    ])

    static let kerberos = ConfigurationMapping<ServerConfiguration.Kerberos>([
        .value(
            "keytab", \.keytab, .optional(.path), .reload, example: "/etc/martlet/xmpp.keytab",
            """
            Keytab with the keys of the server's own principals, such as xmpp/chat.example.org@EXAMPLE.ORG. Relative to this file. Nobody but the server's \
            user should be able to read it. New keys in it count at once; that it is another file, after a reload.
            """),
        .value(
            "service", \.service, .kerberosService, .reload, "First part of the server's own principals. Clients expect xmpp (XEP-0233)."),
        .value(
            "hostname", \.hostname, .optional(.domain), .reload, example: "chat.example.org",
            """
            Host in the server's own principals, of which clients are told (XEP-0233). Tickets for other hosts are refused, except for the domains themselves. \
            Without it any host is taken that the keytab has a key of.
            """),
    ])

    static let accounts = ConfigurationMapping<ServerConfiguration.Accounts>([
        .value(
            "registration", \.registration, .choice, .reload,
            """
            Who may make himself an account, by his client or on the page of an invitation: closed: nobody. invited: whoever has an invitation. \
            open: anybody who can connect. Open servers are found by those who send spam within days.
            """),
        .value(
            "requests-per-network", \.requestsPerNetworkMax, .integer(1...100_000), .reload,
            """
            Most requests to make an account from one network address (/64 of IPv6) in an hour, those that are refused included. Further ones are \
            refused.
            """),
        .value(
            "requests", \.requestsMax, .integer(1...1_000_000), .reload, "The same from all addresses together."),
        .list(
            "reserved-names", \.reservedNames, of: .localpart, .reload, counts: 0...1_000,
            "Names before the @ that nobody gives himself. Operators and administrators may."),
        .value("password-change", \.changesPasswords, .boolean, .reload, "Whether people may change their passwords by their clients."),
        .value(
            "removal", \.removesAccounts, .boolean, .reload,
            "Whether people may delete their accounts by their clients, with everything in them. It cannot be undone."),
        .value(
            "password-length", \.passwordLengthMin, .integer(1...128), .reload,
            """
            Fewest characters of a password that is set from then on, by whomever. Whatever its length, the account's name, domain and address are none. \
            What is imported is taken as it is.
            """),
        .value(
            "refused-passwords", \.refusedPasswords, .optional(.path), .reload, example: "/etc/martlet/common-passwords.txt",
            """
            A file of passwords that nobody gets, one a line, whatever the case of their letters: those that others try first. It is read when the server starts and when \
            the configuration is reloaded.
            """),
        .value(
            "password-lifetime", \.passwordLifetime, .duration(.zero...(.seconds(3650 * 86_400))), .reload,
            """
            For how long a password is good after it was set. Then whoever knows it is told that it has expired, and an operator or an administrator sets a \
            new one; tokens and passwords for applications end with it, sessions do not. 0s: for ever.
            """),
        .value(
            "password-warning", \.passwordWarning, .duration(.zero...(.seconds(365 * 86_400))), .reload,
            "How long before that whoever comes online is told, once a day, when his password expires. 0s: nobody is told."),
        .section("invitations", \.invitations, invitations, "Links by which people become contacts, and get accounts (XEP-0401, XEP-0445)."),
    ])

    static let invitations = ConfigurationMapping<ServerConfiguration.Invitations>([
        .value("users", \.users, .boolean, .reload, "Whether every account may invite. Admins may always, and so does martlet invite."),
        .value(
            "lifetime", \.lifetime, .duration(.seconds(3600)...(.seconds(365 * 86_400))), .reload, "For how long an invitation is good."),
        .value(
            "per-account", \.perAccountMax, .integer(1...10_000), .reload,
            "Most invitations of one account that are neither used nor too old. It does not hold for admins."),
    ])

    static let storage = ConfigurationMapping<ServerConfiguration.Storage>([
        .value("kind", \.kind, .choice, .restart, "The database: sqlite is built in."),
        .value(
            "synchronous", \.synchronous, .choice, .restart,
            """
            full: what was acknowledged survives a power cut. normal: what was acknowledged survives a crash of the \
            server, but a power cut may take the last moments; the database stays whole.
            """),
        .value(
            "reserve", \.reserveBytes, .orOff(.bytes(mebibyte...(1024 * mebibyte))), .restart,
            "Size of a file that is kept so that a full disk leaves room for a clean stop."),
        .value(
            "free-space-warning", \.freeSpaceWarning, .orOff(.bytes(mebibyte...(1024 * 1024 * mebibyte))), .reload,
            "Free space on the disk of the data folder below which the log has a warning, looked at once a minute."),
        .value(
            "readers", \.readers, .integer(1...64), .restart,
            "Connections that read while another writes, each with a thread of its own."),
    ])

    static let messages = ConfigurationMapping<ServerConfiguration.Messages>([
        .value(
            "offline", \.offline, .boolean, .reload,
            """
            Whether messages are kept for accounts that are offline (XEP-0160). Otherwise they are refused, and \
            their senders told.
            """)
    ])

    static let archive = ConfigurationMapping<ServerConfiguration.Archive>([
        .value(
            "enabled", \.isEnabled, .boolean, .reload,
            "Whether accounts have archives. Without, nothing is added to them and nobody is answered; what is in them stays until it is too old."),
        .value(
            "default", \.keeps, .choice, .reload,
            """
            What is kept for accounts that have not said what they want (XEP-0441): always, roster (what is exchanged with contacts), \
            or never.
            """),
        .value(
            "messages-max", \.messagesMax, .integer(1...1_000_000_000), .restart,
            "Most messages in the archive of an account. Beyond, the oldest are forgotten."),
        .value(
            "bytes-max", \.bytesMax, .bytes(mebibyte...(1024 * 1024 * mebibyte)), .restart,
            "Most bytes of messages in the archive of an account. Beyond, the oldest are forgotten."),
        .value(
            "retention", \.retention, .duration(.zero...(.seconds(36_500 * 86_400))), .reload,
            """
            Age at which messages leave the archives, as in 365d. 0s: none, they stay for as long as there is room. Looked at \
            once an hour, and not while the machine's clock jumps.
            """),
    ])

    static let devices = ConfigurationMapping<ServerConfiguration.Devices>([
        .value(
            "names", \.keepsNames, .boolean, .restart,
            """
            Whether it is remembered what clients call themselves and the device that they run on, which is what people know them by. Without, they are told \
            apart only by when they were seen.
            """),
        .value(
            "retention", \.retention, .duration(.zero...(.seconds(3_650 * 86_400))), .reload,
            """
            How long after it was seen last a device is forgotten, as in 90d, and with it its tokens. 0s: never. Looked at once an hour, and not while the \
            machine's clock jumps.
            """),
        .value(
            "token-lifetime", \.tokenLifetime, .duration(.zero...(.seconds(365 * 86_400))), .reload,
            """
            How long a token is good by which a client logs in without its password (XEP-0484), as in 7d, from when it is given; one that is a day old, or \
            half as old as it may get, is followed by another when it is used. 0s: none are given, and none are taken.
            """),
    ])

    static let push = ConfigurationMapping<ServerConfiguration.Push>([
        .value(
            "include-sender", \.includesSender, .boolean, .reload,
            "Whether a push service learns whom the last message is from. It belongs to the maker of an app, who need not know who writes to whom."),
        .value(
            "include-body", \.includesBody, .boolean, .reload,
            "Whether a push service learns the text of the last message, as far as it is not encrypted."),
    ])

    static let federation = ConfigurationMapping<ServerConfiguration.Federation>([
        .value("enabled", \.isEnabled, .boolean, .restart, "Whether there are streams to and from other servers."),
        .value(
            "closed", \.isClosed, .boolean, .reload, "Whether there are streams only with the servers that are listed below as peers."),
        .list(
            "blocked", \.blocked, of: .domain, .reload, example: "spam.example",
            "Domains that there are no streams with, nor with domains below them."),
        .value(
            "encryption", \.encryption, .choice, .reload, "Whether streams need TLS: required, or optional (used where the other server can)."),
        .value(
            "authentication", \.authentication, .choice, .reload,
            """
            What other servers need to show. certificate: one that is valid for their domain (XEP-0178, XEP-0220 with certificates). dialback: where \
            there is none, it is believed what DNS says (XEP-0220); whoever can change that can speak for the domain.
            """),
        .value(
            "bidirectional", \.bidirection, .choice, .reload,
            """
            Streams that serve for both directions (XEP-0288). accept: where the other server asks for it. ask: this server asks as well, so that \
            it is answered also by servers that cannot reach it. off: never. Such a stream is not resumed after its connection has broken off.
            """),
        .value(
            "tls-profile", \.tlsProfile, .choice, .reload,
            "What is asked of TLS where this server calls, as listeners.tls-profile. What holds for servers that call is that of the listener."),
        .value(
            "trust-anchors", \.trustAnchors, .optional(.path), .restart, example: "/etc/martlet/authorities.pem",
            """
            PEM file with the authorities that are believed about other servers. Relative to this file. Without it, those that the machine \
            trusts (/etc/ssl/certs/ca-certificates.crt).
            """),
        .section("revocation", \.revocation, revocation, "How it is found out whether certificates of other servers are revoked."),
        .value(
            "posh", \.asksWebServers, .boolean, .reload,
            """
            Whether a certificate that nothing else speaks for is believed if the web server of the domain says so (POSH, RFC 7711). Off by default: anybody who \
            calls could make this server connect to the web server of any domain.
            """),
        .list(
            "private-networks", \.privateNetworks, of: .addressBlock, .restart, example: "10.0.0.0/8",
            """
            Networks that may be called although they are not on the Internet: loopback, private and link-local ones. Without this, DNS \
            records of strangers cannot make the server connect to them.
            """),
        .list(
            "name-servers", \.nameServers, of: .nameServer, .restart, example: "192.0.2.53",
            "Whom names are asked of, with @PORT if it is not 53. Without it, those in /etc/resolv.conf."),
        .value(
            "dnssec-anchor", \.dnssecAnchor, .optional(.path), .restart, example: "/usr/share/dns/root.key",
            """
            File with the keys of DNS's root, by which answers are validated. Relative to this file. Without it, where Debian keeps them, if \
            it does.
            """),
        .value(
            "connect-timeout", \.connectTimeout, .duration(.seconds(5)...(.seconds(600))), .reload,
            "Time from the first stanza for another server to a stream. Then its senders are told that it cannot be reached."),
        .value(
            "negotiation-deadline", \.negotiationDeadline, .duration(.seconds(5)...(.seconds(600))), .reload,
            "Time that another server has from connecting to its authentication."),
        .value(
            "idle-timeout", \.idleTimeout, .duration(.seconds(30)...(.seconds(86_400))), .reload,
            "A stream on which nothing passes for so long is closed; the next stanza opens another."),
        .value(
            "queue-stanzas", \.queueStanzasMax, .integer(10...1_000_000), .reload,
            "Most stanzas that wait for one server, from one domain. Further ones are refused for the moment."),
        .value("queue-bytes", \.queueBytesMax, .bytes(64 * kibibyte...(1024 * mebibyte)), .reload, "Most bytes of them."),
        .value(
            "queue-bytes-total", \.queueBytesTotalMax, .bytes(mebibyte...(64 * 1024 * mebibyte)), .reload,
            "Most bytes that wait for all servers together."),
        .value(
            "retry-for", \.retryFor, .duration(.seconds(0)...(.seconds(2_592_000))), .reload,
            """
            For how long messages wait on disk for a server that has been reached before and cannot be reached now. Then they come back to \
            their senders. 0: they come back at once, as everything does that is for a server that was never reached.
            """),
        .value(
            "stored-messages", \.storedStanzasMax, .integer(10...1_000_000), .reload,
            "Most messages that wait on disk for one server, from one domain. Further ones are refused for the moment."),
        .value("stored-bytes", \.storedBytesMax, .bytes(64 * kibibyte...(64 * 1024 * mebibyte)), .reload, "Most bytes of them."),
        .value(
            "calls", \.callsMax, .integer(1...10_000), .restart, "Servers that are being connected to at the same time. Further ones wait for their turn."),
        .value(
            "streams-per-address", \.streamsPerAddressMax, .integer(1...100_000), .reload, "Most connections from the network address of another server."),
        .value(
            "unauthenticated-streams", \.unauthenticatedStreamsMax, .integer(1...100_000), .reload,
            "Most connections of other servers that have not proved who they are, all together."),
    ])

    static let revocation = ConfigurationMapping<ServerConfiguration.Revocation>([
        .value(
            "mode", \.mode, .choice, .reload,
            """
            off: nothing is asked. prefer: what is revoked is refused, and what cannot be found out is accepted, with a line in the log. require: what is \
            not known to be good is refused, also certificates that say nowhere who would know.
            """),
        .list(
            "lists", \.lists, of: .path, .reload, example: "/etc/martlet/crl",
            """
            Files with lists of revoked certificates (DER or PEM), and folders of such files, 256 at most. Relative to this file. They come before \
            what is fetched, and are read anew within a minute when they change.
            """),
        .list(
            "fetch-hosts", \.fetchHosts, of: .domain, .reload, example: "crl.example.net",
            """
            Hosts of authorities from which lists are fetched, and that are asked (OCSP); hosts below them as well. Without it, any on the Internet, \
            and those in federation.private-networks.
            """),
    ])

    static let peer = ConfigurationMapping<ServerConfiguration.Peer>([
        .value("domain", \.domain, .domain, .reload, isRequired: true, example: "example.net", "The other server's domain."),
        .list(
            "addresses", \.addresses, of: .hostAndPort, .reload, example: "xmpp.example.net:5269",
            "Where it is called, in this order, whatever DNS says."),
        .value("tls", \.tls, .choice, .reload, "How it is called at these addresses: starttls, or direct (TLS from the first byte)."),
        .value("encryption", \.encryption, .optional(.choice), .reload, example: "required", "As federation.encryption, for this server."),
        .value("authentication", \.authentication, .optional(.choice), .reload, example: "dialback", "As federation.authentication, for this server."),
        .value(
            "tls-profile", \.tlsProfile, .optional(.choice), .reload, example: "modern",
            "As federation.tls-profile, for this server. With modern and strict it is not heard over TLS 1.2 where it calls, whatever the listener takes."),
        .list(
            "pins", \.pins, of: .publicKeyPin, .reload, counts: 0...16, example: "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            """
            SHA-256 of the public keys (SubjectPublicKeyInfo, in DER) that it may show, in base64. With these a certificate with one of the keys is needed \
            and enough, whoever has issued it, for whatever name and time; encryption, authentication and DNS have no say.
            """),
        .value(
            "trust-anchors", \.trustAnchors, .optional(.path), .reload, example: "/etc/martlet/example.net.pem",
            """
            PEM file with the authorities that are believed about it, in place of those of federation.trust-anchors and of what DNS says about its \
            certificate. Relative to this file. At most 16 servers have one.
            """),
    ])

    static let log = ConfigurationMapping<ServerConfiguration.Log>([
        .value("level", \.level, .choice, .reload, "The least important lines that are written. Messages' texts never are."),
        .value("format", \.format, .choice, .restart, "text: one line for people. json: one object per line."),
        .value("destination", \.destination, .logDestination, .restart, "stderr, or the path of a file. Relative to this file."),
    ])

    static let web = ConfigurationMapping<ServerConfiguration.Web>([
        .value(
            "url", \.url, .optional(.httpsURL), .reload, example: "https://chat.example.org",
            """
            Where clients reach the listener for https or http from outside, if a proxy stands before it. Without it clients are \
            told the name and the port by which they have asked; uploaded files are at the domain and the port of the first listener for \
            https, or at the domain alone.
            """),
        .list(
            "addresses", \.addresses, of: .ipAddress, .reload, counts: 0...16, example: "192.0.2.1",
            """
            Public addresses by which the listeners, and web.url, are reached from outside. With them host-meta.json says where clients and other \
            servers connect with TLS from the first byte (XEP-0487), and those that understand this ask DNS for nothing. The ports have to be the same \
            outside.
            """),
    ])

    static let acme = ConfigurationMapping<ServerConfiguration.ACME>([
        .value("enabled", \.isEnabled, .boolean, .restart, "Whether an authority is asked for certificates."),
        .value(
            "directory", \.directory, .optional(.uri), .reload, example: "https://acme.example.com/directory",
            "The https: URL of the authority's ACME directory. Nothing is asked of another host than its own."),
        .list(
            "domains", \.domains, of: .domain, .reload, counts: 0...100, example: "example.org",
            """
            Domains of this server for which certificates come from the authority; without this list, all that have no certificate of their own. Each \
            certificate names the domain and its services, and all these names have to lead to this server. Until there is one, the server shows one that \
            it has made itself.
            """),
        .list(
            "contacts", \.contacts, of: .uri, .reload, counts: 0...10, example: "mailto:hostmaster@example.org",
            "How the authority reaches whoever runs the server."),
        .value(
            "terms-agreed", \.agreesToTerms, .boolean, .reload,
            "Whether you agree to the authority's terms of service. It is not asked for anything before you do."),
        .section(
            "external-account", \.externalAccount, externalAccount,
            "What the authority has given you as its customer, if it issues to customers only."),
        .value(
            "keep-keys", \.keepsKeys, .boolean, .reload,
            "Whether a certificate is renewed for the same key. Pins and TLSA records of keys stay true then; otherwise each has a new key."),
        .value(
            "trust-anchors", \.trustAnchors, .optional(.path), .reload, example: "/etc/martlet/acme.pem",
            "PEM file with the authorities that are believed about the directory's host. Relative to this file. Without it, those that the machine trusts."),
        .value(
            "port", \.port, .orOff(.integer(1...65535)), .restart,
            """
            Where the authority's questions arrive, which it asks at port 80: opened for nothing else. Listeners of kinds http and \
            https answer them as well; off leaves it to these and to a web server that passes /.well-known/acme-challenge/ on.
            """),
        .list(
            "addresses", \.addresses, of: .ipAddress, .restart, counts: 1...64, "Addresses on which that port is opened."),
    ])

    static let externalAccount = ConfigurationMapping<ServerConfiguration.ExternalAccount>([
        .value("id", \.identifier, .optional(.accessKey), .reload, example: "kid-1", "The name of the key."),
        .value(
            "key-file", \.keyFile, .optional(.path), .reload, example: "/etc/martlet/acme.secret",
            "File with the key, in Base64 on one line. Relative to this file."),
    ])

    static let metrics = ConfigurationMapping<ServerConfiguration.Metrics>([
        .value(
            "address", \.address, .ipAddress, .restart,
            "Address on which the port is opened. There is no log-in: keep it on loopback, or behind something that asks."),
        .value(
            "port", \.port, .orOff(.integer(1...65535)), .restart,
            "TCP port of /metrics (OpenMetrics), /health and /ready. Off by default."),
    ])

    static let access = ConfigurationMapping<ServerConfiguration.Access>([
        .list(
            "admins", \.admins, of: .bareAddress, .reload, example: "admin@example.org",
            "Accounts with the admin role in every domain."),
        .list(
            "admin-groups", \.adminGroups, of: .distinguishedName, .reload, example: "cn=xmpp-admins,ou=groups,dc=example,dc=org",
            "Groups of a directory whose members have the admin role in every domain, for as long as they are in them."),
    ])

    @Sendable private static func identity(of listener: ServerConfiguration.Listener) -> String {
        let addresses = listener.addresses.map(\.description).joined(separator: ", ")
        return "\(listener.kind.rawValue) \(listener.port) on \(addresses)"
    }

    static let kibibyte = 1024
    static let mebibyte = 1024 * 1024
}
