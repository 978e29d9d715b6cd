import MartletXML

// MARK: Keys that an account lacks (XEP-0480, XEP-0388 §2.6.3)

extension ClientStreamMachine {
    /// - Parameter proved: the keys by which the client has proved to know the password.
    mutating func seekUpgrades(_ completion: Completion, provedBy proved: ScramKeys, _ negotiation: Negotiation) -> Action {
        state = .upgrading(Upgrade(completion: completion, proved: proved), .seeking, negotiation)
        return .seekUpgrades(completion.account, provedBy: proved, to: completion.request.upgrades)
    }

    /// What the account lacks of what the client would make up: each is asked for, one after the other (XEP-0480 §2.2).
    public mutating func upgradable(_ missing: [ScramUpgrade]) -> Action {
        guard case .upgrading(var upgrade, .seeking, let negotiation) = state else { return .wait }
        upgrade.missing = missing[...]
        return requestNext(upgrade, negotiation)
    }

    /// The keys were written, or why they were not.
    public mutating func upgraded(_ failure: SASLFailure?) -> Action {
        guard case .upgrading(let upgrade, .writing, let negotiation) = state else { return .wait }
        if let failure { return failTask(failure) }
        return requestNext(upgrade, negotiation)
    }

    /// The first `<continue/>` has what the exchange has to say in the end; the success says it no more.
    private mutating func requestNext(_ upgrade: Upgrade, _ negotiation: Negotiation) -> Action {
        var upgrade = upgrade
        guard let next = upgrade.missing.popFirst() else { return conclude(upgrade.completion, negotiation) }
        let additionalData = upgrade.completion.additionalData
        upgrade.completion.additionalData = nil
        state = .upgrading(upgrade, .requested(next), negotiation)
        return .requestUpgrade(next.hash, additionalData: additionalData)
    }

    /// During a task nothing is taken but what belongs to it.
    mutating func receive(_ element: FlatElement, _ upgrade: Upgrade, _ step: UpgradeStep, _ negotiation: Negotiation) -> Action {
        let isAbort = element.isNamed("abort", .sasl2)
        do throws(SASLFailure) {
            switch step {
            case .seeking, .writing: return end(Self.early)
            case .requested where isAbort, .described where isAbort: throw .aborted
            case .requested(let wanted) where element.isNamed("next", .sasl2):
                guard element.attribute("task") == wanted.hash.upgradeTask else { throw .malformedRequest("Another task was asked for.") }
                state = .upgrading(upgrade, .described(wanted), negotiation)
                return .describeUpgrade(wanted)
            case .described(let wanted) where element.isNamed("task-data", .sasl2):
                let keys = try wanted.keys(from: element)
                state = .upgrading(upgrade, .writing, negotiation)
                return .upgrade(upgrade.completion.account, keys, provedBy: upgrade.proved)
            case .requested, .described: return end(StreamError(.notAuthorized))
            }
        } catch {
            return failTask(error)
        }
    }

    /// After `<continue/>` no other authentication is possible (XEP-0388 §4.8), so that a task that fails ends the stream.
    private mutating func failTask(_ failure: SASLFailure) -> Action {
        state = .closing
        return .failFinally(failure, StreamError(.policyViolation, "The log-in cannot be tried again on this stream."), .sasl2)
    }
}
