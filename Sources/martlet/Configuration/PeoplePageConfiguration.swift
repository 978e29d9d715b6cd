import MartletCore

/// The white pages: people of a domain for those who look with a browser.
extension ServerConfiguration {
    package struct PeoplePage: ConfigurationSection {
        package var sessionLifetime = Duration.seconds(12 * 3_600)
        package var streamsPerNetworkMax = 20
        package var streamsMax = 500

        package init() {}
    }
}

/// Who may look at the white pages of a domain.
package enum PeoplePageAccess: String, Sendable, CaseIterable {
    case off, organisation, everyone
}

extension ConfigurationSchema {
    static let peoplePage = ConfigurationMapping<ServerConfiguration.PeoplePage>([
        .value(
            "session-lifetime", \.sessionLifetime, .duration(.seconds(300)...(.seconds(30 * 86_400))), .reload,
            "How long somebody who has logged in there stays so. A restart of the server, and a new password, end that as well."),
        .value(
            "streams-per-network", \.streamsPerNetworkMax, .integer(1...10_000), .reload,
            "Most pages whose presence is kept up at a time for one network: an IPv4 address, or 64 bits of an IPv6 address. The others show it as they were loaded."),
        .value(
            "streams", \.streamsMax, .integer(1...PresenceWatch.countMax), .reload, "Most pages whose presence is kept up at a time, of all networks together."),
    ])

    static let peoplePageAccess = ConfigurationField<ServerConfiguration.Domain>.value(
        "people-page", \.peoplePage, .choice, .reload,
        """
        Who may look at the white pages of the domain, at /people of the listeners of kind https: people as search finds them, their photos, telephone \
        numbers and addresses, and the presence that each may see. off: there are none. organisation: accounts of the domain, by their passwords. \
        everyone: anybody; who logs in sees presence as well.
        """)
}
