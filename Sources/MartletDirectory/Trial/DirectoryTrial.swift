package import MartletLDAP
package import MartletXMPP

/// What one step of a trial has found, in words for operators.
package struct TrialLine: Hashable, Sendable {
    package enum Level: String, Hashable, Sendable { case good, doubtful, bad }

    package var level: Level
    package var text: String
    /// What may be done about it.
    package var hint: String?

    package init(_ level: Level, _ text: String, hint: String? = nil) {
        self.level = level
        self.text = text
        self.hint = hint
    }
}

/// Tries a directory as the server would use it, without changing anything: each server, and the people that are found.
package struct DirectoryTrial: Sendable {
    package struct Question: Sendable {
        package var domain: BareJID
        package var base: String
        package var filter: LDAPFilter
        package var addresses: AddressRule
        package var identity: DirectoryIdentity
        /// `nil`: the best that the server has.
        package var detection: ChangeDetection?
        package var verifiers: [PasswordVerifier]
        /// Whether something is to be changed in people's names (RFC 4370), and passwords at all (RFC 3062).
        package var actsForPeople = false
        package var changesPasswords = false

        package init(
            _ domain: BareJID, base: String, filter: LDAPFilter, addresses: AddressRule, identity: DirectoryIdentity, detection: ChangeDetection?,
            verifiers: [PasswordVerifier]
        ) {
            self.domain = domain
            self.base = base
            self.filter = filter
            self.addresses = addresses
            self.identity = identity
            self.detection = detection
            self.verifiers = verifiers
        }
    }

    private let question: Question
    private let dial: LDAPDial

    package init(_ question: Question, _ dial: LDAPDial) {
        self.question = question
        self.dial = dial
    }

    /// - Parameter readsPeople: whether the people are read as well.
    package func lines(of address: DirectoryAddress, readsPeople: Bool) async -> [TrialLine] {
        let connection: LDAPConnection
        do throws(DirectoryFailure) { connection = try await dial.open(address) } catch { return [Self.line(error)] }
        defer { connection.unbind() }
        var lines = [TrialLine(.good, connection.isProtected ? "connected, and nobody else can listen" : "connected, without TLS, within this machine")]
        do throws(DirectoryFailure) {
            let answer = try await connection.bind(as: question.identity)
            guard answer.result.code == .success else { return lines + [Self.line(bind: answer.result)] }
            lines.append(TrialLine(.good, "logged in as \(try await name(connection))"))
            let root = try await connection.rootDSE()
            lines += self.lines(of: root)
            if readsPeople { lines += try await people(connection, root) }
        } catch {
            lines.append(Self.line(error))
        }
        return lines
    }

    private func name(_ connection: LDAPConnection) async throws(DirectoryFailure) -> String {
        do throws(DirectoryFailure) {
            let name = try await connection.whoAmI()
            return name.isEmpty ? "nobody" : name
        } catch {
            // Not every server knows the question.
            guard case .refused = error else { throw error }
            return "somebody: it does not say whom it takes us for"
        }
    }

    // MARK: Servers

    private func lines(of root: RootDSE) -> [TrialLine] {
        let vendor = root.vendorName.map { [$0, root.vendorVersion].compactMap(\.self).joined(separator: " ") }
        var lines = [TrialLine(.good, "it is \(root.isActiveDirectory ? "Active Directory" : vendor ?? "of a kind that it does not say")")]
        lines.append(detection(root))
        if question.actsForPeople {
            lines.append(
                root.controls.contains(LDAPControlType.proxiedAuthorization)
                    ? TrialLine(.good, "it can be asked in people's names (RFC 4370)")
                    : TrialLine(.bad, "it cannot be asked in people's names (RFC 4370)", hint: "leave vcard.writable empty, and let password-change not be proxied"))
        }
        if question.changesPasswords, !root.extensions.contains(LDAPExtension.passwordModify) {
            lines.append(TrialLine(.bad, "it does not change passwords by RFC 3062", hint: "let password-change be off"))
        }
        return lines
    }

    private func detection(_ root: RootDSE) -> TrialLine {
        let offered = ChangeDetection(supportedControls: root.controls)
        let detection = question.detection ?? offered
        switch detection {
        case .contentSync where offered != .contentSync:
            return TrialLine(
                .bad, "it has no content synchronization (RFC 4533)", hint: "load its module (OpenLDAP: overlay syncprov), or let follow be automatic")
        case .contentSync: return TrialLine(.good, "changes are learnt at once, by content synchronization (RFC 4533)")
        case .persistentSearch:
            return TrialLine(.good, "changes are learnt at once, by persistent search; all is read anew after each interruption")
        case .polling:
            return TrialLine(.doubtful, "changes are learnt after 15 seconds, deletions after ten minutes", hint: "OpenLDAP: overlay syncprov lets them be learnt at once")
        }
    }

    // MARK: People

    private func people(_ connection: LDAPConnection, _ root: RootDSE) async throws(DirectoryFailure) -> [TrialLine] {
        var examination = PeopleExamination(question.addresses, in: question.domain, identifier: FeedQuestion.identifier(of: root))
        let request = SearchRequest(question.base, .wholeSubtree, question.filter, attributes: examination.wanted)
        do throws(DirectoryFailure) {
            for try await entry in connection.pages(of: request) { examination.add(entry) }
        } catch {
            guard case .refused(let result) = error else { throw error }
            return [Self.line(search: result)] + (examination.count == 0 ? [] : lines(of: examination))
        }
        return lines(of: examination)
    }

    package func lines(of found: PeopleExamination) -> [TrialLine] {
        guard found.count > 0 else {
            return [TrialLine(.bad, "the filter of people finds nobody", hint: "look at people.base and people.filter, and at what the directory lets this server see")]
        }
        var lines = [TrialLine(found.usable > 0 ? .good : .bad, "the filter of people finds \(found.count), of whom \(found.usable) have an account")]
        for fault in PeopleExamination.Fault.allCases { if let problem = found.problems[fault] { lines.append(Self.line(fault, problem)) } }
        return lines + passwords(found)
    }

    private static func line(_ fault: PeopleExamination.Fault, _ problem: PeopleExamination.Problem) -> TrialLine {
        let names = problem.names.map { String($0.unicodeScalars.lazy.map { $0.properties.generalCategory == .control ? " " : Character($0) }.prefix(256)) }
        let which = names.joined(separator: "; ") + (problem.count > names.count ? "; …" : "")
        return switch fault {
        case .noAddress: TrialLine(.doubtful, "\(problem.count) have no address: \(which)", hint: "people.address says which attributes are looked at")
        case .invalidAddress: TrialLine(.doubtful, "\(problem.count) have an address that cannot be one (RFC 7622): \(which)")
        case .otherDomain: TrialLine(.doubtful, "\(problem.count) have an address of another domain: \(which)", hint: "uid@%d in people.address makes addresses of the domain")
        case .sharedAddress: TrialLine(.bad, "\(problem.count) have an address that another one has as well, so that neither has the account: \(which)")
        case .noUUID: TrialLine(.bad, "of \(problem.count) it is not told who they are (entryUUID, nsUniqueId, objectGUID): \(which)", hint: "let this server read it")
        }
    }

    private func passwords(_ found: PeopleExamination) -> [TrialLine] {
        let kinds = found.schemes.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { "\($0.key.isEmpty ? "in the clear" : $0.key) \($0.value)" }
        let seen = kinds + (found.keys > 0 ? ["authPassword \(found.keys)"] : [])
        var lines = [TrialLine(.good, "passwords that are seen: \(seen.isEmpty ? "none" : seen.joined(separator: ", "))")]
        if question.verifiers != [.bind], found.scram < found.count {
            lines.append(
                TrialLine(
                    .doubtful, "\(found.count - found.scram) have no password that serves SCRAM",
                    hint: question.verifiers.contains(.bind)
                        ? "they log in by PLAIN; let the directory hash with PBKDF2, and let this server read userPassword"
                        : "nobody of them can log in: let passwords have bind, or let this server read userPassword"))
        }
        if question.verifiers.contains(.bind), question.verifiers.count == 1 {
            lines.append(TrialLine(.good, "passwords are checked by the directory: clients have to send them (PLAIN)"))
        }
        return lines
    }

    // MARK: What went wrong

    private static func line(_ failure: DirectoryFailure) -> TrialLine {
        let hint: String? =
            switch failure {
            case .unreachable: "look at servers, and whether it runs and can be reached from here"
            case .insecure: "look at trust-anchors, and whether the certificate is for the name in servers"
            case .unprotected: "write ldaps://, or let start-tls be required"
            case .timedOut: "it accepts connections and does not answer: look at the server itself"
            default: nil
            }
        return TrialLine(.bad, "\(failure)", hint: hint)
    }

    private static func line(bind result: LDAPResult) -> TrialLine {
        let hint =
            switch result.code {
            case .invalidCredentials, .noSuchObject, .inappropriateAuthentication: "look at log-in.name and at the file of log-in.password-file"
            case .authMethodNotSupported: "it does not know log-in.mechanism: let it be simple"
            case .confidentialityRequired, .strongerAuthRequired: "it takes no passwords like this: write ldaps://, or let start-tls be required"
            default: "look at log-in"
            }
        return TrialLine(.bad, "nobody is logged in: \(result.words)", hint: hint)
    }

    private static func line(search result: LDAPResult) -> TrialLine {
        let hint =
            switch result.code {
            case .noSuchObject: "there is no people.base, or the directory does not let this server see it"
            case .sizeLimitExceeded, .adminLimitExceeded: "let it give this server everybody (OpenLDAP: limits … size=unlimited)"
            case .insufficientAccessRights: "let this server read people"
            default: "look at people.base and people.filter"
            }
        return TrialLine(.bad, "people cannot be read: \(result.words)", hint: hint)
    }
}
