import Crypto
package import MartletCore
package import MartletXMPP
import NIOConcurrencyHelpers
package import NIOCore

/// What all listeners and loops know of the white pages: who has logged in, and how much is asked for. It outlives reloads.
package final class PeopleDesk: Sendable {
    private struct State {
        var settings: PeopleSettings
        var sessions = PeopleSessions()
        var requests: BucketTable<NetworkAddress>
        var streams: [NetworkAddress: Int] = [:]
        var streamCount = 0
        var searchCount = 0
        var photoCount = 0
    }

    /// Networks that are remembered at a time.
    private static let networksMax = 16_384

    // Taken once or twice for a request of HTTP; never on a stanza's path.
    private let state: NIOLockedValueBox<State>
    /// Behind the addresses of photos: only who was shown one knows where it is.
    private let key = SymmetricKey(size: .bits256)

    package init(_ settings: PeopleSettings) { state = NIOLockedValueBox(State(settings: settings, requests: Self.buckets(settings))) }

    private static func buckets(_ settings: PeopleSettings) -> BucketTable<NetworkAddress> {
        BucketTable(settings.requestsBurst, settings.requestRecovery, .zero, networksMax)
    }

    package func apply(_ settings: PeopleSettings) {
        state.withLockedValue { state in
            if settings.requestsBurst != state.settings.requestsBurst || settings.requestRecovery != state.settings.requestRecovery {
                state.requests = Self.buckets(settings)
            }
            state.settings = settings
        }
    }

    package var settings: PeopleSettings { state.withLockedValue { $0.settings } }
    package var streamCount: Int { state.withLockedValue { $0.streamCount } }

    // MARK: Bounds

    /// Whether a request is answered. Where it comes from nobody in particular, as behind a proxy that does not say for whom it asks, all are one.
    package func takes(from address: NetworkAddress?, at now: NIODeadline) -> Bool {
        state.withLockedValue { $0.requests.takeIfAny(Self.network(address), at: now) }
    }

    private static func network(_ address: NetworkAddress?) -> NetworkAddress { address?.network ?? NetworkAddress(high: 0, low: 0) }

    package func beginSearch() -> Bool {
        state.withLockedValue { state in
            guard state.searchCount < state.settings.searchesMax else { return false }
            state.searchCount += 1
            return true
        }
    }

    package func endSearch() { state.withLockedValue { $0.searchCount -= 1 } }

    package func beginPhoto() -> Bool {
        state.withLockedValue { state in
            guard state.photoCount < state.settings.photosMax else { return false }
            state.photoCount += 1
            return true
        }
    }

    package func endPhoto() { state.withLockedValue { $0.photoCount -= 1 } }

    package func beginStream(to address: NetworkAddress?) -> Bool {
        let network = Self.network(address)
        return state.withLockedValue { state in
            let count = state.streams[network, default: 0]
            guard count < state.settings.streamsPerNetworkMax, state.streamCount < state.settings.streamsMax else { return false }
            state.streams[network] = count + 1
            state.streamCount += 1
            return true
        }
    }

    package func endStream(to address: NetworkAddress?) {
        let network = Self.network(address)
        state.withLockedValue { state in
            guard let count = state.streams[network] else { return }
            state.streams[network] = count > 1 ? count - 1 : nil
            state.streamCount -= 1
        }
    }

    // MARK: Sessions

    package func begin(_ token: String, _ account: BareJID, at moment: CredentialMoment, form formToken: String, now: NIODeadline) {
        state.withLockedValue { state in
            state.sessions.begin(token, account, at: moment, form: formToken, until: now + state.settings.sessionLifetime, now: now)
        }
    }

    package func session(_ token: String, now: NIODeadline) -> PeopleSessions.Session? { state.withLockedValue { $0.sessions.session(token, now: now) } }

    package func end(_ token: String) { state.withLockedValue { $0.sessions.end(token) } }

    // MARK: Photos

    /// The end of the address of a photo.
    package func seal(_ photo: PeoplePhotoPath, for viewer: BareJID?, at domain: String) -> String {
        Base64URL.encoded(HMAC<SHA256>.authenticationCode(for: Self.sealed(photo, viewer, domain), using: key))
    }

    package func isSealed(_ photo: PeoplePhotoPath, by seal: String, for viewer: BareJID?, at domain: String) -> Bool {
        guard let code = Base64URL.decoded(seal) else { return false }
        return HMAC<SHA256>.isValidAuthenticationCode(code, authenticating: Self.sealed(photo, viewer, domain), using: key)
    }

    /// None of the parts has a line feed in it.
    private static func sealed(_ photo: PeoplePhotoPath, _ viewer: BareJID?, _ domain: String) -> [UInt8] {
        Array("\(domain)\n\(viewer?.description ?? "")\n\(photo.digest)\n\(photo.localpart)".utf8)
    }
}
