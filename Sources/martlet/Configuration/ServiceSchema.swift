import MartletCore

/// The keys of what there is besides accounts: rooms, nodes, files, search, block lists of others, programs beside the server (`ServiceConfiguration.swift`).
extension ConfigurationSchema {
    static let rooms = ConfigurationMapping<ServerConfiguration.Rooms>([
        .value("enabled", \.isEnabled, .boolean, .reload, "Whether there are rooms."),
        .value(
            "subdomain", \.subdomain, .domain, .reload,
            "Where the rooms of a domain are: with conference, those of example.org are at conference.example.org."),
        .value(
            "creation", \.creation, .choice, .reload,
            "Who may create rooms by entering them: everybody, local (accounts of this server), admins (of the domain), or nobody."),
        .value(
            "occupants-max", \.occupantsMax, .integer(2...100_000), .reload, "Most occupants that the owner of a room may allow."),
        .value(
            "affiliations-max", \.affiliationsMax, .integer(10...1_000_000), .reload,
            "Most members, administrators, owners and outcasts of a room, all together."),
        .value(
            "history-max", \.historyMax, .integer(0...1_000), .reload,
            "Most messages of a room that are kept in memory for those who enter, and that an owner may choose to show them."),
        .value("history-bytes", \.historyBytesMax, .bytes(16 * kibibyte...(64 * mebibyte)), .reload, "Most bytes of them."),
        .value(
            "ping-after", \.pingAfter, .duration(.zero...(.seconds(86_400))), .reload,
            """
            An occupant of another server from whom nothing has come for so long is asked whether he is there (XEP-0199), and leaves the room if \
            he is not. 0s: nobody is asked. Looked at once a minute.
            """),
        .value(
            "per-account-max", \.perAccountMax, .integer(1...100_000), .reload,
            """
            Most rooms that one account has created by entering them and that are still there, whoever owns them now. It does not hold for admins \
            (access.admins, and those of the domain).
            """),
        .value(
            "archive", \.archiving, .choice, .reload,
            """
            Whether what is said in rooms is kept in their archives (XEP-0313): allowed (as their owners say), always, or never; with never, what \
            was kept before is not shown either.
            """),
        .section("standard", \.standard, standardRoom, "What a new room is like. Its owners may change it."),
    ])

    static let standardRoom = ConfigurationMapping<ServerConfiguration.StandardRoom>([
        .value("persistent", \.isPersistent, .boolean, .reload, "Whether the room stays when its last occupant leaves."),
        .value("public", \.isPublic, .boolean, .reload, "Whether the room is listed."),
        .value("members-only", \.isMembersOnly, .boolean, .reload, "Whether only members may enter."),
        .value("moderated", \.isModerated, .boolean, .reload, "Whether who has no affiliation enters without voice."),
        .value("show-addresses", \.showsAddresses, .boolean, .reload, "Whether occupants see each other's addresses. Moderators always do."),
        .value("archive", \.isArchived, .boolean, .reload, "Whether messages are kept in the room's archive (XEP-0313)."),
        .value("occupants", \.occupantsMax, .integer(2...100_000), .reload, "Most occupants."),
        .value("history", \.historyLength, .integer(0...1_000), .reload, "Most messages that who enters is shown."),
    ])

    static let bytestreams = ConfigurationMapping<ServerConfiguration.Bytestreams>([
        .value("enabled", \.isEnabled, .boolean, .restart, "Whether there is one. It is for accounts of this server, and costs its bandwidth."),
        .value(
            "subdomain", \.subdomain, .domain, .restart,
            "Where the proxy of a domain is: with proxy, that of example.org is at proxy.example.org."),
        .value("port", \.port, .integer(1...65535), .restart, "TCP port."),
        .list(
            "addresses", \.addresses, of: .ipAddress, .restart, counts: 1...64,
            "Addresses on which the port is opened. 0.0.0.0 is every IPv4 and :: every IPv6 address of the machine."),
        .value(
            "host", \.host, .optional(.domain), .reload, example: "chat.example.org",
            "What clients are told to connect to. Without it, the name of their domain."),
        .value("streams-per-account", \.streamsPerAccountMax, .integer(1...1_000), .restart, "Most transfers of an account at a time."),
        .value("streams", \.streamsMax, .integer(1...100_000), .restart, "Most transfers at a time."),
    ])

    static let pubsub = ConfigurationMapping<ServerConfiguration.PubSub>([
        .value("account-nodes", \.accountNodesMax, .integer(10...100_000), .reload, "Most nodes that an account has."),
        .value(
            "account-items", \.accountItemsMax, .integer(10...100_000), .reload,
            "Most items that a node of an account keeps, if it is to keep as many as it may."),
        .value(
            "account-bytes", \.accountBytesMax, .bytes(mebibyte...(1_024 * mebibyte)), .reload,
            "Most bytes that an account has published and that are kept; what goes beyond is refused."),
        .value(
            "item-bytes", \.itemBytesMax, .bytes(kibibyte...(8 * mebibyte)), .reload,
            "Most bytes of one item, at accounts and services. No stanza is larger than limits.stanza-bytes, whatever this says."),
        .section("service", \.service, pubsubService, "Nodes that belong to no account, at an address of their own in each domain."),
    ])

    static let pubsubService = ConfigurationMapping<ServerConfiguration.PubSubServiceSection>([
        .value("enabled", \.isEnabled, .boolean, .reload, "Whether there is such a service."),
        .value(
            "subdomain", \.subdomain, .domain, .reload,
            "Where the service of a domain is: with pubsub, that of example.org is at pubsub.example.org."),
        .value("creation", \.creation, .choice, .reload, "Who may create nodes: local (accounts of this server) or admins (of the domain)."),
        .value(
            "server-info", \.publishesServerInformation, .boolean, .reload,
            """
            Whether each domain tells everybody, at the node serverinfo, which other servers it has streams with (XEP-0485). Others are named only if \
            they say that they do the same.
            """),
        .value("nodes", \.nodesMax, .integer(10...1_000_000), .reload, "Most nodes that a service has."),
        .value("items", \.itemsMax, .integer(10...1_000_000), .reload, "Most items that a node keeps, if it is to keep as many as it may."),
        .value(
            "bytes", \.bytesMax, .bytes(mebibyte...(1_048_576 * mebibyte)), .reload,
            "Most bytes that a service keeps; what goes beyond is refused."),
    ])

    static let uploads = ConfigurationMapping<ServerConfiguration.Uploads>([
        .value(
            "enabled", \.isEnabled, .boolean, .reload,
            "Whether files are taken and given. Without, those that are there stay, and nobody gets them."),
        .value(
            "subdomain", \.subdomain, .domain, .reload,
            "Where the service of a domain is: with upload, that of example.org is at upload.example.org. The files are at the domain itself, see web.url."),
        .value("store", \.store, .choice, .restart, "Where the files are kept: folder, or s3 (a bucket, see uploads.s3). Files that are there are not moved."),
        .value("folder", \.folder, .pathInDataFolder, .restart, "Folder for the files. Relative to the data folder."),
        .section(
            "s3", \.s3, s3,
            "The bucket for the files, if uploads.store is s3. Nothing else may keep anything under its prefix: what the server does not know is removed."),
        .value("file-bytes", \.fileBytesMax, .bytes(kibibyte...(64 * 1024 * mebibyte)), .reload, "Largest file. Clients are told of it."),
        .value(
            "account-bytes", \.accountBytesMax, .bytes(mebibyte...(1024 * 1024 * mebibyte)), .reload,
            "Most bytes of an account's files. What goes beyond is refused until some are gone."),
        .value("account-files", \.accountFilesMax, .integer(10...1_000_000), .reload, "Most files of an account."),
        .value(
            "account-bytes-per-day", \.accountDayBytesMax, .bytes(mebibyte...(1024 * 1024 * mebibyte)), .reload,
            "Most bytes that an account uploads within 24 hours. Files that are gone already do not count."),
        .value(
            "domain-bytes", \.domainBytesMax, .bytes(mebibyte...(1024 * 1024 * 1024 * mebibyte)), .reload,
            "Most bytes of the files of all accounts of a domain. Counted anew once a minute."),
        .value(
            "domain-bytes-per-day", \.domainDayBytesMax, .bytes(mebibyte...(1024 * 1024 * 1024 * mebibyte)), .reload,
            "Most bytes that all accounts of a domain upload within 24 hours."),
        .list(
            "types", \.types, of: .mediaTypes, .reload, counts: 0...1_000, example: "image/*",
            "What is taken: media types such as application/pdf, or kinds such as image/*, as clients say them. Without it, everything."),
        .value(
            "slot-lifetime", \.slotLifetime, .duration(.seconds(10)...(.seconds(3600))), .reload,
            "Time from a client's question to the beginning of its upload."),
        .value("account-transfers", \.accountTransfersMax, .integer(1...100), .reload, "Most files that an account uploads at the same time."),
        .section("retention", \.retention, uploadRetention, "For how long files are kept, by what clients say that they are for. 0s: for ever. Looked at once an hour."),
    ])

    static let s3 = ConfigurationMapping<ServerConfiguration.S3>([
        .value(
            "endpoint", \.endpoint, .optional(.webURL), .restart, example: "https://s3.eu-central-1.amazonaws.com",
            "Where the service is. With http, files and what the server may do there can be read on the way."),
        .value("bucket", \.bucket, .optional(.bucketName), .restart, example: "martlet-uploads", "The name of the bucket, which must be there."),
        .value("region", \.region, .bucketName, .restart, "The region that requests are signed for. Many services take any."),
        .value(
            "access-key", \.accessKey, .optional(.accessKey), .restart, example: "AKIAIOSFODNN7EXAMPLE",
            "The name of the key that requests are signed with."),
        .value(
            "secret-key-file", \.secretKeyFile, .optional(.path), .restart, example: "/etc/martlet/s3.secret",
            "File with the secret that belongs to the access key, on one line. Relative to this file."),
        .value(
            "path-style", \.pathStyle, .boolean, .restart,
            "Whether the bucket is named in the path of addresses, as MinIO and others have it by default, and not in front of the endpoint's name."),
        .value(
            "prefix", \.prefix, .optional(.keyPrefix), .restart, example: "chat/uploads",
            "What the names of all objects begin with, before a slash. For several servers with one bucket."),
        .value(
            "trust-anchors", \.trustAnchors, .optional(.path), .restart, example: "/etc/martlet/s3.pem",
            "PEM file with the authorities that are believed about the service's certificate. Without it, those of this machine. Relative to this file."),
        .value(
            "timeout", \.timeout, .duration(.seconds(1)...(.seconds(25))), .restart,
            "How long the service may take to answer, or to take the next part of a file, before the client is told that it does not work."),
    ])

    static let uploadRetention = ConfigurationMapping<ServerConfiguration.UploadRetention>([
        retention("message", \.message, "Files in messages, and those of which nothing is said."),
        retention("profile", \.profile, "Avatars and the like."),
        retention("ephemeral", \.ephemeral, "Files with an end of their own, which may come earlier."),
        retention("permanent", \.permanent, "Files that are to stay, such as pictures in articles."),
    ])

    private static func retention(
        _ name: String, _ property: ConfigurationField<ServerConfiguration.UploadRetention>.Property<Duration>, _ summary: String
    ) -> ConfigurationField<ServerConfiguration.UploadRetention> {
        .value(name, property, .duration(.zero...(.seconds(36_500 * 86_400))), .reload, summary)
    }

    static let search = ConfigurationMapping<ServerConfiguration.Search>([
        .value("enabled", \.isEnabled, .boolean, .reload, "Whether accounts of this server can search for others of their domain."),
        .value(
            "subdomain", \.subdomain, .domain, .reload,
            "Where the service of a domain is: with vjud, that of example.org is at vjud.example.org. Clients find it among the services of their domain."),
        .value(
            "who", \.finds, .choice, .reload,
            """
            Who is found. published: whoever has a vCard that says something; everybody may read those anyway. all: whoever has an account that is not \
            disabled, by the name of the account if there is no vCard.
            """),
        .value("by", \.askers, .choice, .reload, "Who may search: accounts of the same domain, or of any domain of this server. Nobody else may."),
        .value("results", \.resultsMax, .integer(1...500), .reload, "Most accounts that one search shows."),
        .value("per-minute", \.perMinuteMax, .integer(1...10_000), .reload, "Most searches of one account within a minute."),
    ])

    static let blockList = ConfigurationMapping<ServerConfiguration.BlockListSource>([
        .value(
            "service", \.service, .serviceAddress, .reload, isRequired: true, example: "pubsub.example.net",
            "The address of the service that shares the list. The first domain of this server subscribes there."),
        .value("node", \.node, .nodeName, .reload, "The name of the node: its items are named by the digests."),
    ])

    static let externalService = ConfigurationMapping<ServerConfiguration.ExternalService>([
        .value(
            "address", \.address, .optional(.hostAndPort), .reload, isRequired: true, example: "turn.example.org:3478",
            "Where clients find it, with the port."),
        .value("type", \.type, .choice, .reload, "What it is there for: stun, turn; with TLS: stuns, turns."),
        .value("transport", \.transport, .optional(.choice), .reload, example: "udp", "udp or tcp."),
        .value(
            "secret-file", \.secretFile, .optional(.path), .reload, example: "/etc/martlet/turn.secret",
            """
            File with the secret that it shares with this server (static-auth-secret of coturn): then clients get names and passwords that are good \
            for a while. Relative to this file.
            """),
        .value(
            "lifetime", \.lifetime, .duration(.seconds(60)...(.seconds(604_800))), .reload, "For how long such a password is good."),
    ])

    static let component = ConfigurationMapping<ServerConfiguration.Component>([
        .value(
            "name", \.name, .domain, .reload, isRequired: true, example: "irc.example.org",
            "The component's domain, as it says it when it connects."),
        .value(
            "secret-file", \.secretFile, .optional(.path), .reload, isRequired: true, example: "/etc/martlet/irc.secret",
            "File with the secret that the component has as well, on one line. Relative to this file."),
        .value(
            "domain", \.domain, .optional(.domain), .reload, example: "example.org",
            """
            The domain of this server that it belongs to: among whose services it is listed. Without it, the nearest domain above its own, or \
            the first.
            """),
        .value(
            "subdomains", \.servesSubdomains, .boolean, .reload,
            "Whether the domains below its own are its as well. Other servers reach those only where the certificate is good for them."),
        .list(
            "managed-domains", \.managedDomains, of: .domain, .reload, example: "example.org",
            "The domains of this server that its privileges and delegations are about. Without it, all of them."),
        .section("privileges", \.privileges, componentPrivileges, "What it may do with the accounts of these domains (XEP-0356)."),
        .list(
            "delegations", \.delegations, of: .delegatedNamespace, .reload, counts: 0...256, example: "http://jabber.org/protocol/pubsub",
            """
            Namespaces whose requests to these domains and to the bare addresses of their accounts it answers in the server's place (XEP-0355), each \
            with the attributes that a request has to have for that, if any, after spaces, as in "urn:xmpp:mam:2 node".
            """),
    ])

    static let componentPrivileges = ConfigurationMapping<ServerConfiguration.ComponentPrivileges>([
        .value("roster", \.roster, .choice, .reload, "Whether it reads rosters (get), changes them (set), or both."),
        .value("roster-push", \.rosterPushes, .boolean, .reload, "Whether it is told of changes of rosters, if it reads them."),
        .value(
            "message", \.message, .choice, .reload,
            "outgoing: it sends messages in the names of accounts and of the domain; the account's archive and clients have them as if one of its clients had."),
        .value(
            "presence", \.presence, .choice, .reload,
            "managed_entity: it hears when accounts come online and go. roster: of the presence of their contacts as well; for that it has to read rosters."),
        .list(
            "iq-get", \.get, of: .namespace, .reload, counts: 0...256, example: "http://jabber.org/protocol/pubsub",
            "Namespaces in which it asks for something (get) in accounts' names."),
        .list(
            "iq-set", \.set, of: .namespace, .reload, counts: 0...256, example: "http://jabber.org/protocol/pubsub",
            "Namespaces in which it has something done (set) in accounts' names."),
    ])
}
