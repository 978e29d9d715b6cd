import Logging
import MartletCore
import MartletLDAP
import MartletXMPP

extension StanzaError {
    /// What somebody is told whose request a directory has not carried out. Its words are for operators: they may say more than he may know.
    ///
    /// - Parameter about: what was to be changed.
    init(_ failure: DirectoryFailure, about: String) {
        guard case .refused(let result) = failure else {
            self = .resourceConstraint("the directory cannot be asked now: try again")
            return
        }
        switch result.code {
        case .insufficientAccessRights: self = .forbidden("the directory does not let you change this \(about)")
        case .constraintViolation, .invalidAttributeSyntax, .attributeOrValueExists, .objectClassViolation, .undefinedAttributeType, .namingViolation:
            self = .notAcceptable("the directory does not take this \(about)")
        // The server may not act for people there, or nobody may.
        case .authorizationDenied, .unavailableCriticalExtension, .unwillingToPerform, .strongerAuthRequired, .confidentialityRequired,
            .inappropriateAuthentication, .notAllowedOnNonLeaf, .objectClassModsProhibited:
            self = StanzaError(.notAllowed, text: "the directory lets nobody change this \(about) from here")
        default: self = .resourceConstraint("the directory cannot do this now: try again")
        }
    }
}

extension Logger {
    /// An operator may have something to mend: the server may not act for people, or not so.
    func noteIfOperatorsAffair(_ failure: DirectoryFailure, _ account: BareJID) {
        guard case .refused(let result) = failure else { return }
        switch result.code {
        case .authorizationDenied, .unavailableCriticalExtension, .unwillingToPerform, .strongerAuthRequired, .confidentialityRequired:
            warning("the directory does not let this server change it for people", metadata: ["account": "\(account)", "reason": "\(failure)"])
        default: break
        }
    }
}
