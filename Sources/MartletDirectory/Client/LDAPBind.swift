package import MartletCore
package import MartletLDAP
import MartletXMPP

/// What came of a bind: the last answer, whatever it says.
package struct BindAnswer: Hashable, Sendable {
    package let result: LDAPResult
    package let controls: [LDAPControl]

    package init(_ result: LDAPResult, controls: [LDAPControl] = []) { (self.result, self.controls) = (result, controls) }
}

extension LDAPConnection {
    /// Binds as somebody else than before; if that fails, as nobody (RFC 4511 §4.2.1).
    ///
    /// Takes milliseconds of a thread for SCRAM: never from a loop.
    ///
    /// - Throws: what was in the way; what the server says is returned.
    package func bind(
        as identity: DirectoryIdentity, controls: [LDAPControl] = [], random: any RandomSource = SystemRandom()
    ) async throws(DirectoryFailure) -> BindAnswer {
        let answer: BindAnswer
        switch identity {
        case .anonymous: answer = try await step(BindRequest("", .simple([])), controls).answer
        case .simple(let name, let password): answer = try await step(BindRequest(name, .simple(password.bytes)), controls).answer
        case .external: answer = try await sasl("EXTERNAL", [], controls).answer
        case .plain(let username, let password):
            guard isProtected else { throw .unprotected(address) }
            answer = try await sasl("PLAIN", [0] + Array(username.utf8) + [0] + password.bytes, controls).answer
        case .scram(let hash, let username, let password):
            let nonce = ScramNonce(random: random.bytes(ScramNonce.randomBytesMin))
            answer = try await scram(hash, ScramClient(hash: hash, username: username, password: password, nonce: nonce), controls)
        }
        if answer.result.code == .success { isBound() }
        return answer
    }

    /// One request and its answer.
    private func step(
        _ request: BindRequest, _ controls: [LDAPControl]
    ) async throws(DirectoryFailure) -> (answer: BindAnswer, credentials: [UInt8]?) {
        let message = try await answer(to: .bindRequest(request), controls: controls)
        // The machine takes nothing else as a bind's answer.
        guard case .bindResponse(let response) = message.operation else { preconditionFailure("a bind was answered with another operation") }
        return (BindAnswer(response.result, controls: message.controls), response.serverSASLCredentials)
    }

    private func sasl(
        _ mechanism: String, _ credentials: [UInt8]?, _ controls: [LDAPControl]
    ) async throws(DirectoryFailure) -> (answer: BindAnswer, credentials: [UInt8]?) {
        try await step(BindRequest("", .sasl(mechanism: mechanism, credentials: credentials)), controls)
    }

    private func scram(_ hash: ScramHash, _ client: ScramClient, _ controls: [LDAPControl]) async throws(DirectoryFailure) -> BindAnswer {
        do throws(DirectoryFailure) {
            return try await exchange(hash.mechanismName, client, controls)
        } catch {
            // Half an exchange is no state to go on from. One that did not begin is none: the connection may be somebody else's at the moment.
            if error != .occupied { unbind() }
            throw error
        }
    }

    private func exchange(_ mechanism: String, _ client: ScramClient, _ controls: [LDAPControl]) async throws(DirectoryFailure) -> BindAnswer {
        var client = client
        let first = try await sasl(mechanism, client.first(), controls)
        guard first.answer.result.code == .saslBindInProgress else {
            if first.answer.result.code == .success { throw .exchange }
            return first.answer
        }
        let proof: [UInt8]
        do throws(ScramClient.Fault) { proof = try client.final(answering: first.credentials ?? []) } catch { throw .scram(error) }
        let second = try await sasl(mechanism, proof, controls)
        switch second.answer.result.code {
        case .success, .saslBindInProgress: break
        default: return second.answer
        }
        do throws(ScramClient.Fault) { try client.verify(second.credentials ?? []) } catch { throw .scram(error) }
        // Some servers say success only once their proof was taken (RFC 4422 §5, additional data with success).
        guard second.answer.result.code == .saslBindInProgress else { return second.answer }
        let last = try await sasl(mechanism, nil, controls).answer
        if last.result.code == .saslBindInProgress { throw .exchange }
        return last
    }
}
