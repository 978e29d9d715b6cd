package import NIOCore

/// Who may look at the white pages of a domain.
package enum PeopleAccess: Hashable, Sendable {
    /// Whoever logs in with an account of the domain.
    case organisation
    /// Anybody. Who logs in sees whose presence he may see, besides.
    case everyone
}

/// How the white pages are shown. Every bound of them that an operator may move is here.
package struct PeopleSettings: Hashable, Sendable {
    /// Of which domains, and who may look.
    package var access: [String: PeopleAccess] = [:]
    /// Whether people are found, by the names of their accounts, whose cards say nothing.
    package var findsEmpty = false
    /// From a log-in to its end, whatever the browser does.
    package var sessionLifetime = TimeAmount.hours(12)
    /// Pages whose presence is kept up at a time, of one network (/32, /64) and of all.
    package var streamsPerNetworkMax = 20
    package var streamsMax = 500
    /// Requests of one network that are answered at once, and how long it takes until another one is. A page has a photo for each who is on it.
    package var requestsBurst = 300
    package var requestRecovery = TimeAmount.milliseconds(200)
    /// Pages that are made up at a time, and photos that are looked for: readers of the store are there for others as well.
    package var searchesMax = 8
    package var photosMax = 32
    /// How long presence is kept up before a browser asks anew, by the rules and rights that hold then.
    package var streamLifetime = TimeAmount.minutes(15)
    /// From one sign of life on such a stream to the next.
    package var heartbeat = TimeAmount.seconds(15)

    package init() {}
}
